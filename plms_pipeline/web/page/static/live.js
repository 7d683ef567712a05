// Is what the page shows still true? One stream of changes, begun again for as long as it takes, and never silently lost.

const WAITS_MS = [500, 1000, 2000, 4000, 8000, 15000];
const QUIET_BEATS = 2.5;
const HIDDEN_MS = 60000;

// The fields of one event of a stream (text/event-stream).
function parsed(block) {
  const found = { event: "message", data: [], id: null };
  for (const line of block.split("\n")) {
    if (line.startsWith(":")) continue;
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") found.event = value;
    else if (name === "data") found.data.push(value);
    else if (name === "id") found.id = value;
  }
  return found;
}

export class Live {
  // onChange(what): sections, projects, lanes and runs to ask for again. onState(state, since, why): connecting, live, lost, over.
  constructor(path, { onChange, onState, beatS = 5 }) {
    Object.assign(this, { path, onChange, onState, beatS });
    this.lastId = null;
    this.lastHeard = null;
    this.failures = 0;
    this.timer = null;
    this.aborter = null;
    this.isOver = false;
    this.state = "connecting";
    this.asleep = null;
    document.addEventListener("visibilitychange", () => this.seen());
    window.addEventListener("online", () => this.now());
  }

  start() {
    this.isOver = false;
    this.listen();
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.aborter?.abort();
  }

  // A hidden page gives its connection back after a while: a browser has six of them for each server.
  seen() {
    clearTimeout(this.asleep);
    if (document.visibilityState === "visible") return this.now();
    this.asleep = setTimeout(() => this.aborter?.abort(), HIDDEN_MS);
    return undefined;
  }

  now() {
    if (this.isOver || this.aborter) return;
    clearTimeout(this.timer);
    this.listen();
  }

  async listen() {
    const aborter = new AbortController();
    this.aborter = aborter;
    let why = null;
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.lastId) headers["Last-Event-ID"] = this.lastId;
      const answer = await fetch(this.path, { headers, credentials: "same-origin", cache: "no-store", signal: aborter.signal });
      if (answer.status === 401) {
        this.isOver = true;
        this.say("over", "signed out");
        return;
      }
      if (!answer.ok || !answer.body) {
        const told = await answer.json().catch(() => ({}));
        throw new Error(told.detail || `The server answered ${answer.status}.`);
      }
      why = await this.read(answer.body.getReader(), aborter);
    } catch (error) {
      // What a browser says of a connection that broke is different in each and helps nobody.
      const said = error instanceof TypeError ? "The server does not answer." : error.message;
      why = aborter.signal.aborted ? "Nothing was heard for too long." : said;
    } finally {
      clearTimeout(this.watchdog);
      if (this.aborter === aborter) this.aborter = null;
    }
    if (this.isOver) return;
    this.say("lost", why || "The server ended the stream.");
    if (document.visibilityState === "hidden") return;
    const wait = WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.listen(), wait * (0.75 + Math.random() / 2));
  }

  async read(reader, aborter) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      clearTimeout(this.watchdog);
      this.watchdog = setTimeout(() => aborter.abort(), this.beatS * QUIET_BEATS * 1000);
      const { value, done } = await reader.read();
      if (done) return null;
      this.lastHeard = Date.now();
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const why = this.hear(parsed(block));
        if (why) return why;
      }
    }
  }

  hear({ event, data, id }) {
    let told = {};
    try {
      told = JSON.parse(data.join("\n") || "{}");
    } catch {
      return "The stream said something that cannot be read.";
    }
    if (id) this.lastId = id;
    if (event === "bye") {
      this.isOver = true;
      this.say("over", told.detail);
      return "bye";
    }
    if (event === "beat" && told.blind) {
      this.say("lost", told.blind.detail);
      return null;
    }
    this.failures = 0;
    this.say("live", null);
    if (event === "hello" || event === "change") this.onChange(told);
    return null;
  }

  say(state, why) {
    if (state === this.state && state === "live") return;
    const since = state === "lost" && this.state === "lost" ? this.since : this.lastHeard || Date.now();
    Object.assign(this, { state, since });
    this.onState(state, since, why);
  }
}
