// Scores rows. Needs Node 18 or newer, and TWINML_URL and TWINML_KEY in the environment.
// In a browser, too: fetch is the same; keep the key on a server of yours.
const rows = [
  {
    "age": 58,
    "job": "management",
    "marital": "married",
    "education": "tertiary",
    "default": "no",
    "balance": 2143,
    "housing": "yes",
    "loan": "no",
    "contact": "unknown",
    "day": 5,
    "month": "may",
    "duration": 261,
    "campaign": 1,
    "pdays": -1,
    "previous": 0,
    "poutcome": "unknown",
  },
  {
    "age": 59,
    "job": "admin.",
    "marital": "married",
    "education": "secondary",
    "default": "no",
    "balance": 2343,
    "housing": "yes",
    "loan": "no",
    "contact": "unknown",
    "day": 5,
    "month": "may",
    "duration": 1042,
    "campaign": 1,
    "pdays": -1,
    "previous": 0,
    "poutcome": "unknown",
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
