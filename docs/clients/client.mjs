// Scores rows. Needs Node 18 or newer, and TWINML_URL and TWINML_KEY in the environment.
// In a browser, too: fetch is the same; keep the key on a server of yours.
const rows = [
  {
    "age": 56,
    "job": "admin.",
    "marital": "divorced",
    "education": "primary",
    "default": "no",
    "balance": 47054,
    "housing": "no",
    "loan": "no",
    "contact": "cellular",
    "day": 16,
    "month": "apr",
    "duration": 2459,
    "campaign": 32,
    "pdays": 435,
    "previous": 137,
    "poutcome": "failure",
  },
  {
    "age": 48,
    "job": "blue-collar",
    "marital": "married",
    "education": "secondary",
    "default": "yes",
    "balance": 36039,
    "housing": "yes",
    "loan": "yes",
    "contact": "telephone",
    "day": 13,
    "month": "aug",
    "duration": 1967,
    "campaign": 25,
    "pdays": 347,
    "previous": 110,
    "poutcome": "other",
  },
];
const columns = Object.keys(rows[0]);
const body = { input_data: { columns, data: rows.map((row) => Object.values(row)) } };
const response = await fetch(process.env.TWINML_URL, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    Authorization: `Bearer ${process.env.TWINML_KEY}`,
  },
  body: JSON.stringify(body),
  signal: AbortSignal.timeout(60_000),
});
if (!response.ok) {
  throw new Error(`${response.status}: ${await response.text()}`);
}
console.log(JSON.stringify(await response.json()));
