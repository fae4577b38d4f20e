// Conversations and choices in this browser's localStorage. A conversation is a plain object under a key of its own, so
// that two tabs do not overwrite each other's:
//   {id, title, created, updated, model, system, options, keepAlive, think, tools, messages}
//   message: {role, content, thinking?, images?, toolCalls?, state?, error?, stats?}
// state of an answer: "running", "done", "stopped", "failed".

const kPrefix = "ollamax.chat.";

export function newConversation(like = null) {
  const now = Date.now();
  const random = crypto.getRandomValues(new Uint32Array(2));
  return {
    id: now.toString(36) + "-" + random[0].toString(36) + random[1].toString(36), title: "", created: now, updated: now,
    model: like?.model ?? choice("model") ?? "", system: "", options: {...(like?.options ?? {})}, keepAlive: like?.keepAlive ?? "",
    think: like?.think ?? "", tools: "", messages: [],
  };
}

function read(key) {
  try {
    const conversation = JSON.parse(localStorage.getItem(key));
    if (!Array.isArray(conversation?.messages) || kPrefix + conversation.id !== key) return null;
    // What ran when the page was closed runs no longer.
    for (const message of conversation.messages) if (message.state === "running") message.state = "stopped";
    return conversation;
  } catch {
    return null;  // not of this page, or of a version that wrote something else
  }
}

// All of them, the latest first.
export function loadConversations() {
  const all = [];
  for (let i = 0; i < localStorage.length; ++i) {
    const key = localStorage.key(i);
    const conversation = key.startsWith(kPrefix) ? read(key) : null;
    if (conversation) all.push(conversation);
  }
  return all.sort((left, right) => right.updated - left.updated);
}

// False: the browser has no room left; the conversation lives as long as the page.
export function saveConversation(conversation) {
  try {
    localStorage.setItem(kPrefix + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

export const removeConversation = (conversation) => localStorage.removeItem(kPrefix + conversation.id);
export const isConversationKey = (key) => key === null || key.startsWith(kPrefix);

export const choice = (name) => localStorage.getItem("ollamax." + name);

export function choose(name, value) {
  if (value === null) localStorage.removeItem("ollamax." + name);
  else localStorage.setItem("ollamax." + name, value);
}

// Hands the conversation to the person as a file.
export function exportConversation(conversation) {
  const blob = new Blob([JSON.stringify(conversation, null, 2) + "\n"], {type: "application/json"});
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = (conversation.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40) + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
