// How does the page ask, and how does it say what it was told when the answer is no?

export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || told.title || "The server did not say why.");
    this.status = status;
    this.code = told.code || "error";
    this.requestId = told.request_id || null;
    this.fields = Array.isArray(told.fields) ? told.fields : [];
  }
}

const AWAY = {
  code: "server_away",
  detail: "The server does not answer. It is asked again by itself; `plms serve` starts it, `plms doctor` says what is wrong.",
};
const WAIT_MS = 20000;

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(WAIT_MS), ...options });
  } catch {
    throw new Problem(0, AWAY);
  }
  let told = null;
  try {
    told = await answer.json();
  } catch {
    // Half an answer is none; and an answer that is not ours is whoever's stands between the server and us.
    throw new Problem(answer.ok ? 0 : answer.status, answer.ok ? AWAY : { detail: `The server answered ${answer.status}.` });
  }
  if (!answer.ok) throw new Problem(answer.status, told || {});
  return told;
}

export const get = (path) => answered(path, { headers: { Accept: "application/json" } });

// The header is what no page of another site can send: the server asks for it.
export const send = (method, path, body) =>
  answered(path, {
    method,
    headers: { Accept: "application/json", "X-PLMS-Page": "1", "Content-Type": "application/json" },
    body: body === null || body === undefined ? undefined : JSON.stringify(body),
  });
