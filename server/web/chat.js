// Answers being made: what is sent to /api/chat, and what its records do to a message. One answer a conversation at a time.

import {ApiError, chat, listLoaded} from "./api.js";

const runs = new Map();  // conversation id -> AbortController

export const isRunning = (conversation) => runs.has(conversation.id);
export const stop = (conversation) => runs.get(conversation.id)?.abort();

// A failed or empty answer is not part of what the model gets to see.
function sentMessage(message) {
  const sent = {role: message.role, content: message.content};
  if (message.images?.length > 0) sent.images = message.images;
  if (message.toolCalls?.length > 0) sent.tool_calls = message.toolCalls;
  return sent;
}

export function requestOf(conversation) {
  const messages = conversation.messages
    .filter((message) => message.role === "user" || message.content || message.toolCalls?.length > 0)
    .map(sentMessage);
  if (conversation.system.trim()) messages.unshift({role: "system", content: conversation.system});
  const body = {model: conversation.model, messages, options: conversation.options, stream: true};
  const keepAlive = conversation.keepAlive.trim();
  if (keepAlive) body.keep_alive = /^-?\d+(\.\d+)?$/.test(keepAlive) ? Number(keepAlive) : keepAlive;
  if (conversation.think) body.think = conversation.think === "on";
  if (conversation.tools.trim()) body.tools = JSON.parse(conversation.tools);
  return body;
}

// Says what the wait is for: until the model is in memory it loads, then it reads.
async function watchPhase(message, model, signal, onChange) {
  const say = (phase) => {
    if (message.phase === phase || message.state !== "running") return;
    message.phase = phase;
    onChange();
  };
  while (!signal.aborted && message.phase !== null) {
    const loaded = await listLoaded().catch(() => []);
    if (message.phase === null) return;
    const isLoaded = loaded.some((entry) => entry.model === model);
    say(isLoaded ? "Reading the conversation…" : `Loading ${model}…`);
    if (isLoaded) return;
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
}

function take(message, record, begun) {
  const piece = record.message ?? {};
  const now = performance.now();
  if (piece.thinking) {
    message.thinking = (message.thinking ?? "") + piece.thinking;
    message.thinkingMs = now - begun;
  }
  if (piece.content) message.content += piece.content;
  if (piece.tool_calls?.length > 0) message.toolCalls = [...(message.toolCalls ?? []), ...piece.tool_calls];
  if (piece.thinking || piece.content || piece.tool_calls) {
    message.phase = null;
    message.firstMs ??= now - begun;
  }
  if (!record.done) return;
  message.state = "done";
  const {eval_count, eval_duration, prompt_eval_count, load_duration, done_reason} = record;
  message.stats = {eval_count, eval_duration, prompt_eval_count, load_duration, done_reason, first_ms: message.firstMs};
}

// Appends an answer to the conversation and fills it. onChange is called after every change of the message. Resolves when
// the answer is over, however it ended: the message's state says how. Throws an ApiError 401 only: the answer is not
// there then, and may be asked for again with a key.
export async function answer(conversation, onChange) {
  const body = requestOf(conversation);
  const controller = new AbortController();
  const message = {role: "assistant", content: "", state: "running", phase: "Waiting for the server…", model: conversation.model};
  conversation.messages.push(message);
  runs.set(conversation.id, controller);
  onChange();
  const begun = performance.now();
  try {
    watchPhase(message, conversation.model, controller.signal, onChange);
    await chat(body, controller.signal, (record) => {
      take(message, record, begun);
      onChange();
    });
  } catch (error) {
    if (error.name === "AbortError") {
      message.state = "stopped";
    } else {
      message.state = "failed";
      message.error = error instanceof ApiError ? error.message : `This page has failed: ${error.message}`;
      if (error.status === 401) {
        conversation.messages.splice(conversation.messages.indexOf(message), 1);
        throw error;
      }
    }
  } finally {
    message.phase = null;
    delete message.firstMs;
    runs.delete(conversation.id);
    onChange();
  }
}
