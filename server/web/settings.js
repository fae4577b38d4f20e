// The panel of a conversation's system prompt and options. An empty field means what the model or the server has set; the
// greyed text says what that is.

import {element, find} from "./dom.js";

const kNumber = {type: "text", inputmode: "decimal"};
const kWhole = {type: "text", inputmode: "numeric"};
// name, label, explanation, input, lowest, highest; Ollama's own default where the model has none.
const kOptions = [
  ["temperature", "Temperature", "0 takes the likeliest word; more is livelier", kNumber, 0, 5, "0.8"],
  ["top_p", "Top p", "choose among the words that make up this share", kNumber, 0, 1, "0.9"],
  ["top_k", "Top k", "choose among so many words", kWhole, 0, 1000000, "40"],
  ["min_p", "Min p", "drop words less likely than this share of the best", kNumber, 0, 1, "0"],
  ["repeat_penalty", "Repeat penalty", "1 is none", kNumber, 0, 10, "1"],
  ["seed", "Seed", "the same seed gives the same answer", kWhole, -1, Number.MAX_SAFE_INTEGER, "random"],
  ["num_ctx", "Context length", "tokens; a new length loads the model anew", kWhole, 4, 16777216, "server's"],
  ["num_predict", "Longest answer", "tokens; -1 is no limit", kWhole, -2, 16777216, "-1"],
];

let conversation = null;
let changed = () => {};
let defaults = {};

// "temperature 0.6" lines of /api/show.
function defaultsOf(shown) {
  const found = {};
  for (const line of (shown?.parameters ?? "").split("\n")) {
    const [name, ...rest] = line.trim().split(/\s+/);
    if (name && !(name in found)) found[name] = rest.join(" ");
  }
  return found;
}

// What is wrong with a text as the value of an option; "" for nothing.
function faultOf(text, input, lowest, highest) {
  const value = Number(text);
  if (text === "") return "";
  if (!Number.isFinite(value) || (input === kWhole && !Number.isInteger(value))) return input === kWhole ? "A whole number, please." : "A number, please.";
  return value < lowest || value > highest ? `From ${lowest} to ${highest}, please.` : "";
}

function row(id, label, hint, control) {
  const problem = element("p", {class: "problem", id: id + "-problem", hidden: true});
  control.id = id;
  control.setAttribute("aria-describedby", id + "-hint " + id + "-problem");
  return element("div", {class: "option"}, element("label", {for: id}, label), control,
    element("p", {class: "hint", id: id + "-hint"}, hint), problem);
}

function tell(control, fault) {
  const problem = find(control.id + "-problem");
  problem.textContent = fault;
  problem.hidden = fault === "";
  control.setAttribute("aria-invalid", fault === "" ? "false" : "true");
}

function optionRow([name, label, hint, input, lowest, highest, otherwise]) {
  const control = element("input", {...input, autocomplete: "off", placeholder: defaults[name] ?? otherwise});
  control.value = conversation.options[name] ?? "";
  control.addEventListener("input", () => {
    const text = control.value.trim();
    const fault = faultOf(text, input, lowest, highest);
    tell(control, fault);
    if (fault) return;
    if (text === "") delete conversation.options[name];
    else conversation.options[name] = Number(text);
    changed();
  });
  return row("option-" + name, label, hint, control);
}

function textRow(id, label, hint, field, attributes, check = () => "") {
  const control = element(attributes.rows ? "textarea" : "input", {autocomplete: "off", ...attributes});
  control.value = conversation[field] ?? "";
  control.addEventListener("input", () => {
    const fault = check(control.value);
    tell(control, fault);
    if (fault) return;
    conversation[field] = control.value;
    changed();
  });
  return row(id, label, hint, control);
}

function choiceRow(id, label, hint, field, choices) {
  const control = element("select", {}, ...choices.map(([value, text]) => element("option", {value}, text)));
  control.value = conversation[field] ?? "";
  control.addEventListener("change", () => { conversation[field] = control.value; changed(); });
  return row(id, label, hint, control);
}

function stopRow() {
  const control = element("textarea", {rows: 2, placeholder: defaults.stop ?? "none"});
  control.value = (conversation.options.stop ?? []).join("\n");
  control.addEventListener("input", () => {
    const texts = control.value.split("\n").filter((text) => text !== "");
    if (texts.length > 0) conversation.options.stop = texts;
    else delete conversation.options.stop;
    changed();
  });
  return row("option-stop", "Stop texts", "one a line; the answer ends before the first of them", control);
}

function toolsFault(text) {
  try {
    return text.trim() === "" || Array.isArray(JSON.parse(text)) ? "" : "A JSON list of tools, please.";
  } catch (error) {
    return "This is no JSON yet: " + error.message;
  }
}

const keepAliveFault = (text) =>
  text.trim() === "" || /^-?\d+(\.\d+)?$|^-?(\d+(\.\d+)?(ms|s|m|h))+$/.test(text.trim()) ? "" : "Such as 30s, 5m, 1h, 0 or -1, please.";

// Fills the panel for `of` and the model described by `shown` (an answer of /api/show); calls onChanged after each change.
export function showSettings(of, shown, onChanged) {
  conversation = of;
  changed = onChanged;
  defaults = defaultsOf(shown);
  const capabilities = shown?.capabilities ?? [];
  const fields = [
    textRow("system", "System prompt", "what the model should be and do, for this conversation", "system", {rows: 5, placeholder: shown?.system ?? "none"}),
    capabilities.includes("thinking") &&
      choiceRow("think", "Thinking", "whether the model thinks before it answers", "think", [["", "As the model does"], ["on", "On"], ["off", "Off"]]),
    capabilities.includes("tools") &&
      textRow("tools", "Tools", "a JSON list of definitions; calls are shown, not run", "tools", {rows: 4, spellcheck: "false", class: "mono", placeholder: "none"}, toolsFault),
    element("div", {class: "grid"}, ...kOptions.map(optionRow),
      textRow("keep-alive", "Keep in memory", "after the answer: 5m, 1h, -1 for ever", "keepAlive", {type: "text", placeholder: "server's"}, keepAliveFault)),
    stopRow(),
  ];
  find("settings-fields").replaceChildren(...fields.filter(Boolean));
}
