// How a message of a conversation looks. The view is made once and brought up to date while the answer grows.

import {copyButton, element, iconButton} from "./dom.js";
import {renderMarkdown} from "./markdown.js";

const seconds = (ns) => ns / 1e9;

// "128 tokens, 41.3 a second" from the last record of an answer.
export function statisticsText(stats) {
  const parts = [];
  if (stats.eval_count) {
    parts.push(`${stats.eval_count} token${stats.eval_count === 1 ? "" : "s"}`);
    if (stats.eval_duration) parts.push(`${(stats.eval_count / seconds(stats.eval_duration)).toFixed(1)} tokens/s`);
  }
  if (stats.prompt_eval_count) parts.push(`prompt ${stats.prompt_eval_count}`);
  if (stats.first_ms >= 100) parts.push(`first after ${(stats.first_ms / 1000).toFixed(stats.first_ms < 10000 ? 1 : 0)} s`);
  if (stats.done_reason === "length") parts.push("ended by the length limit");
  return parts.join(" · ");
}

function toolCall(call) {
  const json = JSON.stringify(call.function?.arguments ?? {}, null, 2);
  return element("div", {class: "tool"}, element("p", {}, "Calls ", element("code", {}, call.function?.name ?? "?")),
    json === "{}" ? null : element("pre", {tabindex: "0"}, element("code", {}, json)));
}

export function imageSource(base64) {
  const type = base64.startsWith("/9j/") ? "jpeg" : base64.startsWith("UklGR") ? "webp" : "png";
  return `data:image/${type};base64,${base64}`;
}

function userView(message, actions) {
  const images = (message.images ?? []).map((data, i) => element("img", {src: imageSource(data), alt: `Attached image ${i + 1}`}));
  const edit = iconButton("edit", "Change this message", actions.edit, {class: "quiet edit"});
  const node = element("li", {class: "message user"},
    element("h2", {class: "unseen"}, "You"),
    element("div", {class: "bubble"}, images.length > 0 ? element("div", {class: "images"}, ...images) : null, element("p", {}, message.content)),
    element("div", {class: "foot"}, copyButton(() => message.content, "Copy this message"), edit));
  return {node, update: (isLast) => { edit.hidden = !isLast; }};
}

function assistantView(message, actions) {
  const thought = element("div", {class: "markdown"});
  const summary = element("summary", {});
  const thinking = element("details", {class: "thinking", hidden: true}, summary, thought);
  const answer = element("div", {class: "markdown answer"});
  const tools = element("div", {class: "calls"});
  const phase = element("span", {});
  const waiting = element("p", {class: "waiting", role: "status"}, element("span", {class: "pulse", "aria-hidden": "true"}), phase);
  const reason = element("p", {});
  const retry = element("button", {type: "button", class: "link retry", onclick: actions.regenerate}, "Try again");
  const failure = element("div", {class: "failure", role: "alert", hidden: true}, reason, retry);
  const stats = element("span", {class: "stats"});
  const copy = copyButton(() => message.content, "Copy this answer");
  const again = iconButton("again", "Answer again", actions.regenerate, {class: "quiet again"});
  const foot = element("div", {class: "foot"}, copy, again, stats);
  const node = element("li", {class: "message assistant"},
    element("h2", {class: "unseen"}, "Answer"), thinking, answer, tools, waiting, failure, foot);
  let nCalls = 0;

  const update = (isLast) => {
    const isRunning = message.state === "running";
    thinking.hidden = !message.thinking;
    if (message.thinking) {
      renderMarkdown(thought, message.thinking);
      const time = message.thinkingMs >= 100 ? ` for ${(message.thinkingMs / 1000).toFixed(1)} s` : "";
      summary.textContent = isRunning && !message.content ? "Thinking…" : "Thought" + time;
    }
    renderMarkdown(answer, message.content);
    for (const call of (message.toolCalls ?? []).slice(nCalls)) tools.append(toolCall(call));
    nCalls = message.toolCalls?.length ?? 0;
    waiting.hidden = !isRunning || !message.phase;
    if (phase.textContent !== (message.phase ?? "")) phase.textContent = message.phase ?? "";
    failure.hidden = message.state !== "failed";
    reason.textContent = message.error ?? "";
    retry.hidden = again.hidden = !isLast;
    foot.hidden = isRunning;
    copy.hidden = !message.content;
    const text = message.state === "stopped" ? "stopped" : "";
    stats.textContent = message.stats ? statisticsText(message.stats) : text;
    node.setAttribute("aria-busy", String(isRunning));
  };
  return {node, update};
}

// {node, update(isLast)}; actions: edit, regenerate.
export const messageView = (message, actions) => (message.role === "user" ? userView : assistantView)(message, actions);
