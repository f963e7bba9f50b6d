// Questions to the query API (docs/query-api.md), and the token that they may need.

const STORED = "openclaw-trace.token";
const MOST_TRIES = 4;

/** An answer that is none. */
export class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

let locked = () => {};

/** Says who is told that a token is wanted. */
export function onLocked(tell) {
  locked = tell;
}

// For this tab only: what a shared machine keeps, the next person can read.
export function token() {
  return sessionStorage.getItem(STORED) ?? "";
}

export function setToken(text) {
  if (text) sessionStorage.setItem(STORED, text);
  else sessionStorage.removeItem(STORED);
}

function headers(more) {
  const held = token();
  return held ? { ...more, Authorization: `Bearer ${held}` } : { ...more };
}

/** The address of a question; what is empty is left out. */
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** One try; the answer's body is not read yet. */
export async function open(path, params, { signal, headers: more } = {}) {
  let response;
  try {
    response = await fetch(address(path, params), { signal, headers: headers(more), cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the sidecar does not answer; is it running?");
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  const error = new ApiError(response.status, answer.error ?? `the answer was ${response.status}`, Number(response.headers.get("retry-after")) || undefined);
  if (response.status === 401) locked(error);
  throw error;
}

/** The answer as JSON. "Too many questions at once" is asked again: a view asks several. */
export async function ask(path, params, { signal } = {}) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await (await open(path, params, { signal })).json();
    } catch (error) {
      if (error.status !== 429 || tries === MOST_TRIES) throw error;
      await pause((error.retryAfter ?? 1) * 1000 * (0.7 + Math.random() * 0.6), signal);
    }
  }
}

export function pause(millis, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, millis);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Saves an export. With a token it must be fetched here: a link cannot send one. */
export async function download(params, name) {
  const response = await open("/api/v1/export", params);
  const place = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = place;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(place), 60_000);
}
