/* The Jobs and Dead letters pages: poll the data, show it. Whatever comes from outside is set as text, never as
   HTML; rows are replaced only when they changed, so that a selection survives a poll. */
(function () {
  "use strict";

  const page = document.getElementById("batchq-page");
  const rows = document.getElementById("batchq-rows");
  const PAGE = 25;
  const SHORT = 32; // characters that stay on one line: job ids, reasons
  const TIMEOUT_MS = 30000;
  const filters = new URLSearchParams(window.location.search);
  let offset = 0;
  let shown = "";
  let timer = 0;
  let asked = 0; // the newest request; answers to older ones are dropped

  // -- small pieces -------------------------------------------------------------------------------------------

  function element(name, classes, ...content) {
    const made = document.createElement(name);
    if (classes) made.className = classes;
    made.append(...content.filter((one) => one !== null && one !== undefined));
    return made;
  }

  function outside(classes, text) {
    const short = text.length <= SHORT ? " text-nowrap" : "";
    return element("span", "batchq-text " + classes + short, text);
  }

  function number(value) {
    return element("td", "text-end", element("span", value ? "" : "value-missing", value.toLocaleString()));
  }

  function duration(seconds) {
    if (seconds < 60) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return minutes + "m " + String(Math.floor(seconds % 60)).padStart(2, "0") + "s";
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return hours + "h " + String(minutes % 60).padStart(2, "0") + "m";
    return Math.floor(hours / 24) + "d " + (hours % 24) + "h";
  }

  function moment_of(seconds) {
    const at = moment.unix(seconds);
    const made = element("time", "text-nowrap", at.fromNow());
    made.dateTime = at.toISOString();
    made.title = at.format("YYYY-MM-DD HH:mm:ss Z");
    return made;
  }

  function link(url, parameters, ...content) {
    const made = element("a", "", ...content);
    made.href = url + "?" + new URLSearchParams(parameters);
    return made;
  }

  // -- jobs ---------------------------------------------------------------------------------------------------

  const JOB_BADGES = {
    pending: "text-bg-secondary",
    processing: "task-state-started",
    paused: "text-bg-warning",
    completed: "text-bg-success",
    failed: "text-bg-danger",
    cancelled: "text-bg-secondary",
  };

  function progress(job) {
    const parts = [
      ["batchq-succeeded", job.succeeded],
      ["batchq-unsuccessful", job.failed + job.dead_letter],
      ["batchq-cancelled", job.cancelled],
      ["batchq-in-flight", job.processing],
    ];
    const bar = element("div", "progress-stacked");
    for (const [kind, count] of parts) {
      const part = element("div", "progress-bar " + kind);
      part.style.width = "100%";
      const holder = element("div", "progress", part);
      holder.style.width = (job.total ? (100 * count) / job.total : 0) + "%";
      bar.append(holder);
    }
    // whole only when it is: 99.99 % of a large job is not the end of it
    const percent = job.total ? Math.floor((1000 * job.settled) / job.total) / 10 : 100;
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-valuenow", String(percent));
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    const text = job.settled.toLocaleString() + " of " + job.total.toLocaleString() + " · " + percent + " %";
    return element("td", "batchq-progress-column", bar, element("span", "batchq-note text-nowrap", text));
  }

  // one that a newer batchq stored: all that is known of it is that it is there
  function unknown_row(job) {
    const why = element("td", "", element("span", "badge text-bg-secondary", "unknown"), outside("batchq-note", job.reason));
    why.colSpan = 11;
    return element("tr", "", element("td", "", outside("batchq-name", job.name)), why);
  }

  function job_row(job, with_eta) {
    const dead = job.failed + job.dead_letter;
    const name = outside("batchq-name", job.name);
    const about = [job.operation, job.model].filter(Boolean).join(" · ");
    const row = element(
      "tr",
      "",
      element(
        "td",
        "",
        dead ? link(page.dataset.lettersUrl, { job_id: job.id }, name) : name,
        outside("batchq-note", about),
      ),
      element(
        "td",
        "",
        element("span", "badge " + (JOB_BADGES[job.state] || "text-bg-secondary"), job.state),
        job.reason ? outside("batchq-note batchq-reason", job.reason) : null,
      ),
      progress(job),
      number(job.succeeded),
      number(job.failed),
      number(job.dead_letter),
      number(job.cancelled),
      number(job.processing),
      number(job.pending),
      element("td", "text-end text-nowrap", job.rate ? rate(job.rate) : "—"),
    );
    if (with_eta) row.append(element("td", "text-end", job.eta_s === null ? "—" : moment_of(Date.now() / 1000 + job.eta_s)));
    let span = job.finished_at ? "never begun" : "not begun";
    if (job.duration_s !== null) span = (job.finished_at ? "took " : "for ") + duration(job.duration_s);
    row.append(
      element("td", "text-end", moment_of(job.created_at), element("span", "batchq-note text-nowrap", span)),
    );
    return row;
  }

  function rate(per_second) {
    const value = per_second < 1 ? [per_second * 60, "/min"] : [per_second, "/s"];
    return value[0].toLocaleString(undefined, { maximumFractionDigits: value[0] < 10 ? 1 : 0 }) + " " + value[1];
  }

  function jobs(data) {
    const with_eta = data.some((job) => typeof job.eta_s === "number");
    document.querySelector("[data-eta]").classList.toggle("d-none", !with_eta);
    return data.map((job) => (job.state === null ? unknown_row(job) : job_row(job, with_eta)));
  }

  // -- dead letters -------------------------------------------------------------------------------------------

  function letter_row(letter) {
    return element(
      "tr",
      "",
      element("td", "", link("", { job_id: letter.job_id }, outside("batchq-name", letter.job))),
      element(
        "td",
        "",
        outside("batchq-item", letter.id),
        element("span", "batchq-note", letter.operation + " · #" + letter.index.toLocaleString()),
      ),
      element(
        "td",
        "",
        element(
          "span",
          "badge " + (letter.status === "failed" ? "text-bg-danger" : "text-bg-warning"),
          letter.status.replace("_", " "),
        ),
      ),
      element(
        "td",
        "",
        outside("", letter.reason),
        letter.code ? element("span", "batchq-note", "HTTP " + letter.code) : null,
      ),
      element("td", "batchq-error-column", outside("batchq-error", letter.error)),
      number(letter.attempts),
    );
  }

  const kinds = {
    batchq_jobs: { rows: jobs, none: "No jobs yet.", noneFound: "No jobs match." },
    batchq_dead_letters: {
      rows: (data) => data.map(letter_row),
      none: "No dead letters.",
      noneFound: "No dead letters match.",
    },
  };
  const kind = kinds[page.dataset.page];

  // -- polling ------------------------------------------------------------------------------------------------

  function show(answer) {
    const text = JSON.stringify([answer.data, answer.cut]);
    if (text !== shown) {
      shown = text;
      const made = kind.rows(answer.data);
      if (!made.length) {
        const filtered = offset > 0 || [...filters.values()].some(Boolean);
        const cell = element("td", "empty-table-message", filtered ? kind.noneFound : kind.none);
        cell.colSpan = 12;
        made.push(element("tr", "", cell));
      }
      rows.replaceChildren(...made);
    }
    const many = answer.data.length;
    document.getElementById("batchq-info").textContent =
      (many ? "Showing " + (offset + 1).toLocaleString() + " to " + (offset + many).toLocaleString() : "") +
      (answer.cut ? " — the search was cut short: narrow it down by job" : "");
    document.getElementById("batchq-newer").classList.toggle("disabled", offset === 0);
    document.getElementById("batchq-older").classList.toggle("disabled", !answer.more);
  }

  function status(good, text) {
    const dot = document.getElementById("batchq-indicator");
    dot.classList.toggle("status-dot-live", good);
    dot.classList.toggle("status-dot-error", !good);
    document.getElementById("batchq-status").textContent = text;
  }

  async function poll() {
    window.clearTimeout(timer);
    const mine = ++asked;
    const query = new URLSearchParams(filters);
    query.set("offset", offset);
    query.set("limit", PAGE);
    try {
      const response = await fetch(page.dataset.url + "?" + query, {
        headers: { Accept: "application/json" },
        credentials: "same-origin",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const type = response.headers.get("Content-Type") || "";
      const answer = type.startsWith("application/json") ? await response.json() : {};
      if (mine !== asked) return;
      if (response.ok && answer.data) {
        show(answer);
        status(true, "Updated " + new Date().toLocaleTimeString());
      } else if (response.ok || response.status === 401 || response.status === 403) {
        status(false, "Logged out: reload the page");
      } else {
        status(false, answer.error || "Update failed (" + response.status + ")");
        if (response.status === 404 || response.status === 400) show({ data: [], more: false });
      }
    } catch (error) {
      if (mine !== asked) return;
      status(false, "Update failed: Flower does not answer");
    }
    again();
  }

  function again() {
    const every = Number(page.dataset.everyMs);
    if (every && !document.hidden) timer = window.setTimeout(poll, every);
  }

  // -- what people do -----------------------------------------------------------------------------------------

  function filter(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value) filters.set(name, value);
      else filters.delete(name);
    }
    offset = 0;
    const query = filters.toString();
    window.history.replaceState(null, "", window.location.pathname + (query ? "?" + query : ""));
    mark();
    poll();
  }

  function mark() {
    for (const button of document.querySelectorAll("[data-state]")) {
      const on = button.dataset.state === (filters.get("state") || "");
      button.classList.toggle("active", on);
      button.setAttribute("aria-pressed", String(on));
    }
    for (const input of document.querySelectorAll("#batchq-filters input")) {
      input.value = filters.get(input.name) || "";
    }
  }

  for (const button of document.querySelectorAll("[data-state]")) {
    button.addEventListener("click", () => filter({ state: button.dataset.state }));
  }
  const form = document.getElementById("batchq-filters");
  if (form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      filter(Object.fromEntries(new FormData(form)));
    });
  }
  for (const [id, step] of [["batchq-newer", -PAGE], ["batchq-older", PAGE]]) {
    const item = document.getElementById(id);
    item.querySelector("button").addEventListener("click", () => {
      if (item.classList.contains("disabled")) return;
      offset = Math.max(0, offset + step);
      poll();
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
  });
  mark();
  poll();
})();
