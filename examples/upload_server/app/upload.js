// The upload page.  XMLHttpRequest sends the file, for it tells what has been sent; what
// the server has received comes as Server-Sent Events (upload_app.py describes them).

const $ = (id) => document.getElementById(id);

const LOST_MS = 3000; // so long the server may take to tell why an upload has ended
const MOST_SAMPLES = 600;
const CHART = { width: 600, height: 120 };

let file = null;
let upload = null; // the one that is going on

// ---- Numbers ----

const SPACE = "\u00a0"; // no line is broken between a number and its unit
const plain = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = Math.abs(count);
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${count < 0 ? "−" : ""}${short.format(value)}${SPACE}${units[unit]}`;
}

function exactly(count) {
  const all = `${plain.format(count)}${SPACE}bytes`;
  return count < 1000 ? all : `${all} (${bytes(count)})`;
}

const signed = (count) => (count > 0 ? "+" : "") + bytes(count);
const rate = (count) => `${bytes(count)}/s`;

function time(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)}${SPACE}s`;
  const whole = Math.round(seconds);
  return [Math.floor(whole / 60), "min", whole % 60, "s"].join(SPACE);
}

// ---- What is shown ----

// It is read aloud: only what is new, and not each percent.
function tell(state, text) {
  $("status").dataset.state = state;
  if ($("status").textContent !== text) $("status").textContent = text;
}

function showBar(name, count, total) {
  const share = total ? count / total : 1;
  $(name).value = share;
  $(`${name}-text`).textContent = `${bytes(count)}, ${Math.floor(share * 100)}${SPACE}%`;
}

function showEvent(event) {
  showBar("received", event.received, file.size);
  $("rate").textContent = rate(event.rate);
  $("average").textContent = rate(event.average);
  $("lines").textContent = plain.format(event.lines);
  $("seconds").textContent = time(event.seconds);
}

function showAmount(id, count, format) {
  $(id).value = count;
  $(id).textContent = format(count);
}

function showMemory(event, samples) {
  const known = event.memory !== null && event.memory_before !== null;
  $("memory").hidden = !known;
  if (!known) return;
  showAmount("memory-now", event.memory, bytes);
  showAmount("memory-highest", event.memory_highest, bytes);
  showAmount("memory-growth", event.memory_highest - event.memory_before, signed);
  drawChart(event, samples);
}

function drawChart(event, samples) {
  const end = Math.max(event.seconds, 1e-3);
  const top = Math.max(event.memory_before + file.size, event.memory_highest) * 1.05;
  const points = (value) =>
    samples.map((sample) => {
      const x = (sample.seconds / end) * CHART.width;
      const y = (1 - value(sample) / top) * CHART.height;
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
  const line = points((sample) => sample.memory);
  $("chart-line").setAttribute("points", line.join(" "));
  $("chart-area").setAttribute(
    "points",
    [`0,${CHART.height}`, ...line, `${CHART.width},${CHART.height}`].join(" "),
  );
  const kept = points((sample) => event.memory_before + sample.received);
  $("chart-kept").setAttribute("points", kept.join(" "));
  $("chart-top").textContent = bytes(top);
  $("chart").setAttribute(
    "aria-label",
    `Memory of the server in ${time(event.seconds)}: at first ${bytes(event.memory_before)}, ` +
      `at most ${bytes(event.memory_highest)}, now ${bytes(event.memory)}`,
  );
}

function showResult(result) {
  const texts = {
    name: result.name || "(none)",
    bytes: exactly(result.bytes),
    sha256: result.sha256,
    lines: plain.format(result.lines),
    type: result.type,
  };
  for (const [name, text] of Object.entries(texts)) $(`result-${name}`).textContent = text;
  $("result").hidden = false;
}

function setBusy(busy) {
  const hadFocus = document.activeElement;
  $("file").disabled = busy;
  $("upload").disabled = busy || !file;
  $("cancel").disabled = !busy;
  // A button that is disabled loses the focus: the other one takes it.
  if (busy && hadFocus === $("upload")) $("cancel").focus();
  if (!busy && hadFocus === $("cancel")) $("upload").focus();
}

// ---- One upload ----

class Upload {
  constructor() {
    this.id = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
    this.samples = [];
    this.told = 0; // quarters of the file
    this.request = null;
    this.cancelled = false;
    this.received = 0;
    this.events = new EventSource(`events?id=${this.id}`);
    this.events.onmessage = (message) => this.take(JSON.parse(message.data));
    this.events.onerror = () => {
      if (!this.request) this.fail("the server cannot be reached");
    };
  }

  // The server listens: now nothing of it is missed.
  send() {
    this.request = new XMLHttpRequest();
    this.request.upload.onprogress = (event) => showBar("sent", event.loaded, event.total);
    this.request.onload = () => this.answered();
    this.request.onerror = () => this.lost("the connection was lost");
    this.request.open("POST", `uploads/${this.id}?name=${encodeURIComponent(file.name)}`);
    this.request.send(file);
  }

  take(event) {
    if (!this.request) this.send();
    if (event.state === "failed") {
      this.fail(event.reason);
    } else if (event.state !== "waiting") {
      this.show(event);
      if (event.state === "done") this.finish(event.result);
    }
  }

  show(event) {
    this.received = event.received;
    this.samples.push(event);
    if (this.samples.length > MOST_SAMPLES) {
      this.samples = this.samples.filter((_, index) => index % 2 === 0);
    }
    showEvent(event);
    showMemory(event, this.samples);
    const quarters = Math.floor((event.received / file.size) * 4);
    if (quarters > this.told && quarters < 4 && !this.cancelled) {
      this.told = quarters;
      tell("receiving", `Uploading ${file.name}: ${quarters * 25}${SPACE}% received.`);
    }
  }

  answered() {
    const { status, responseText } = this.request;
    if (status !== 200) this.fail(responseText.trim() || `status ${status}`);
    // The event with the result tells more; it is on its way, or lost.
    else setTimeout(() => this.finish(JSON.parse(responseText)), LOST_MS);
  }

  cancel() {
    this.cancelled = true;
    if (!this.request) return this.fail("it had not begun");
    tell("receiving", "Cancelling.");
    this.request.abort();
    this.lost("the server has not told why");
  }

  // The server tells by an event what has become of it, if it can.
  lost(reason) {
    setTimeout(() => this.fail(reason), LOST_MS);
  }

  finish(result) {
    if (!this.end()) return;
    showBar("sent", file.size, file.size);
    showResult(result);
    tell("done", `Done: ${bytes(result.bytes)} in ${time(result.seconds)}.`);
  }

  fail(reason) {
    if (!this.end()) return;
    if (this.request) this.request.abort();
    const begin = this.cancelled ? "Failed: cancelled" : "Failed";
    tell("failed", `${begin} after ${bytes(this.received)} (${reason.replace(/\.$/, "")}).`);
  }

  // False when it has ended before.
  end() {
    if (upload !== this) return false;
    this.events.close();
    upload = null;
    setBusy(false);
    return true;
  }
}

function begin() {
  $("result").hidden = true;
  $("progress").hidden = false;
  $("memory").hidden = true;
  showBar("sent", 0, file.size || 1);
  showBar("received", 0, file.size || 1);
  for (const id of ["rate", "average", "lines", "seconds"]) $(id).textContent = "–";
  setBusy(true);
  tell("receiving", `Uploading ${file.name}.`);
  upload = new Upload();
}

function choose(files) {
  if (upload || !files.length) return;
  file = files[0];
  setBusy(false);
  const others = files.length > 1 ? ` The first of ${files.length} files.` : "";
  tell("waiting", `${file.name}, ${bytes(file.size)}.${others}`);
}

// ---- The controls ----

$("file").addEventListener("change", () => choose($("file").files));
$("cancel").addEventListener("click", () => upload?.cancel());
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (file && !upload) begin();
});

// A file that is dropped beside the area would be opened instead of the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault());
}
$("drop").addEventListener("dragover", () => $("drop").classList.toggle("over", !upload));
$("drop").addEventListener("dragleave", (event) => {
  if (!$("drop").contains(event.relatedTarget)) $("drop").classList.remove("over");
});
$("drop").addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  choose(event.dataTransfer.files);
});

// A browser keeps the choice over a reload.
choose($("file").files);
