// What the page asks its server; whatever changes something goes in its order, one after the other.

const KEY = "tab";
export const TAB = sessionStorage.getItem(KEY) || Array.from(crypto.getRandomValues(new Uint8Array(8)), byte => byte.toString(16).padStart(2, "0")).join("");
sessionStorage.setItem(KEY, TAB);

/** An answer that says why nothing was done, with its status; without one there was no answer. */
export class Refused extends Error {
  constructor(message, status) { super(message); this.status = status; }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, { ...options, headers: { "x-tab": TAB, ...options.headers } });
  } catch {
    throw new Refused("The program does not answer. What was drawn before is kept; start it again to go on.");
  }
  if (!answer.ok) {
    const text = await answer.text();
    let detail = text;
    try { detail = JSON.parse(text).detail; } catch { /* plain text */ }
    throw new Refused(typeof detail === "string" ? detail : "The request was malformed.", answer.status);
  }
  return answer;
}

export const getJson = async path => (await ask(path)).json();
export const getBytes = async path => (await ask(path)).arrayBuffer();
export const getBlob = async path => (await ask(path)).blob();

/** A file to be kept, and the number of images that it lacks. */
export async function getFile(path) {
  const answer = await ask(path);
  return { file: await answer.blob(), leftOut: Number(answer.headers.get("x-left-out")) };
}

const sent = (method, content) => ({ method, body: JSON.stringify(content), headers: { "content-type": "application/json" } });

/** Ask for something that changes nothing and may be refused, beside all changes. */
export const hint = (path, content) => ask(path, sent("POST", content)).catch(() => {});

let last = Promise.resolve();

/** Send a change after all that were sent before. */
export function change(method, path, content) {
  const options = content === undefined ? { method } : sent(method, content);
  const answer = last.catch(() => {}).then(async () => (await ask(path, options)).json());
  last = answer;
  return answer;
}

/** When all changes that were sent are answered. */
export const settled = () => last.catch(() => {});

/** Listen to news; `ended` is called if the stream ends, with whether it had begun. */
export function listen(onNews, onEnd) {
  const source = new EventSource(`api/events?tab=${TAB}`);
  let begun = false;
  source.onopen = () => { begun = true; };
  source.onmessage = event => onNews(JSON.parse(event.data));
  source.onerror = () => { source.close(); onEnd(begun); };
  return source;
}
