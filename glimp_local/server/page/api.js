// The public endpoints of the server, and nothing else.

import { keep, recall } from "./dom.js";

const KEY = "glimp.key";
let key = recall(KEY);

/** Is there a key? It may be a wrong one. */
export const hasKey = () => key !== null;

/** Send this key from now on, and keep it for as long as the tab is open. */
export function useKey(value) {
  key = value;
  keep(KEY, value);
}

/** What went wrong, in the server's words. `status` is 0 if there was no answer at all. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function request(path, { body, signal } = {}) {
  const headers = {};
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer. Is glimp serve still running?");
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

async function refusal(reply) {
  let error = null;
  try {
    ({ error } = await reply.json());
  } catch {
    // no error object: the status has to do
  }
  const message = typeof error?.message === "string" ? error.message : `the server answered with status ${reply.status}`;
  return new ApiError(message, { status: reply.status, code: error?.code ?? null });
}

/** Is the pair loaded? Throws an ApiError that says why not. */
export const health = async () => void (await request("/health"));

/** The models that can be asked, as `/v1/models` describes them. */
export const models = async () => (await (await request("/v1/models")).json()).data;

export const props = async () => (await request("/props")).json();

/** Steer the reply with this id: `reasoning_end`, `force_small` or `force_large`. */
export const control = async (id, action) => void (await request("/v1/chat/completions/control", { body: { id, action } }));

/**
 * Ask, and yield the chunks of the reply; null as soon as the request was accepted, and for each sign of life after it.
 * Throws an ApiError if the request was refused, or the reply broke off.
 */
export async function* stream(body, signal) {
  const reply = await request("/v1/chat/completions", { body: { ...body, stream: true }, signal });
  yield null;
  for await (const line of lines(reply, signal)) {
    if (line.startsWith(":")) yield null;
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, { status: reply.status, code: chunk.error.code });
    yield chunk;
  }
  throw new ApiError("The connection ended before the reply was complete. Is glimp serve still running?");
}

async function* lines(reply, signal) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const found = (rest + value).split("\n");
      rest = found.pop();
      yield* found;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError("The connection broke before the reply was complete. Is glimp serve still running?");
  } finally {
    reader.cancel().catch(() => {}); // it may have failed already
  }
}
