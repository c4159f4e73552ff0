// Parts that follow what happens, copy buttons, and the sum of shares. Pages work without it.
"use strict";

for (const part of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(part.dataset.live);
  source.onmessage = (event) => {
    // What is being read or chosen stays where it is.
    const log = part.querySelector(".log");
    const atEnd = log && log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    part.innerHTML = event.data;
    const next = part.querySelector(".log");
    if (next && atEnd) next.scrollTop = next.scrollHeight;
  };
  source.addEventListener("over", () => {
    source.close();
    if (part.dataset.after) location.replace(part.dataset.after);
    else location.reload();
  });
  addEventListener("pagehide", () => source.close());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

for (const form of document.querySelectorAll("form.traffic")) {
  const shares = [...form.querySelectorAll("[data-share]")];
  const told = form.querySelector("[data-sum]");
  const tell = () => {
    const sum = shares.reduce((total, one) => total + Number(one.value), 0);
    told.textContent = sum === 100 || sum === 0 ? "" : `Shares add up to ${sum} %, not to 100.`;
  };
  for (const one of shares) {
    // A slider beside each field, for those who have the script.
    const slider = document.createElement("input");
    slider.type = "range";
    slider.max = "100";
    slider.value = one.value;
    slider.setAttribute("aria-label", one.getAttribute("aria-label"));
    one.before(slider);
    const move = (from, to) => {
      to.value = from.value;
      // Of two deployments one gets what the other leaves.
      if (shares.length === 2) {
        const other = shares.find((each) => each !== one);
        other.value = String(100 - Number(one.value));
        other.previousSibling.value = other.value;
      }
      tell();
    };
    slider.addEventListener("input", () => move(slider, one));
    one.addEventListener("input", () => move(one, slider));
  }
}

for (const button of document.querySelectorAll("[data-busy]")) {
  button.form.addEventListener("submit", () => {
    button.textContent = `${button.dataset.busy} …`;
    button.setAttribute("aria-busy", "true");
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => {
        const cell = row.cells[column];
        return cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
      };
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      };
      const rows = [...body.rows].sort(order);
      body.append(...(descending ? rows.reverse() : rows));
    });
  });
}
