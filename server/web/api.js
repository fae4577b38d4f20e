// HTTP with the server this page came from. Every failure is an ApiError whose message is for the reader; a request that
// was aborted rejects with an AbortError.

const kKey = "ollamax.key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;  // 0: no answer at all
  }
}

// An API key lives as long as the tab, or in this browser when the person asks for that.
export function setKey(key, isRemembered) {
  sessionStorage.setItem(kKey, key);
  if (isRemembered) localStorage.setItem(kKey, key);
  else localStorage.removeItem(kKey);
}

const getKey = () => sessionStorage.getItem(kKey) ?? localStorage.getItem(kKey);

// Paths are relative, so that a prefix of a proxy stays in front.
async function request(path, body, signal) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  const key = getKey();
  if (key) headers.Authorization = "Bearer " + key;
  let response;
  try {
    response = await fetch(path, {method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached. Check that it is running.");
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  let message = text;
  try {
    message = JSON.parse(text).error ?? text;
  } catch {
    // No JSON: the text itself is the message.
  }
  if (response.status === 401) message = "The server wants an API key.";
  if (response.status === 503) message = "The server is busy: " + message;
  throw new ApiError(response.status, message || `The server answered ${response.status}.`);
}

export const listModels = async () => (await (await request("api/tags")).json()).models ?? [];
export const listLoaded = async () => (await (await request("api/ps")).json()).models ?? [];
export const showModel = async (model) => (await request("api/show", {model})).json();
export const version = async () => (await (await request("api/version")).json()).version;

// Calls onRecord for each record of the answer as it arrives; resolves after the last one.
export async function chat(body, signal, onRecord) {
  const response = await request("api/chat", body, signal);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let pending = "";
  let isDone = false;
  const take = (line) => {
    if (!line.trim()) return;
    const record = JSON.parse(line);
    if (record.error) throw new ApiError(500, record.error);
    isDone = record.done === true;
    onRecord(record);
  };
  try {
    for (;;) {
      const {done, value} = await reader.read();
      pending += done ? decoder.decode() : decoder.decode(value, {stream: true});
      const lines = pending.split("\n");
      pending = lines.pop();
      lines.forEach(take);
      if (done) break;
    }
    take(pending);
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError(0, "The connection was lost before the answer was complete.");
  }
  if (!isDone) throw new ApiError(0, "The connection was lost before the answer was complete.");
}
