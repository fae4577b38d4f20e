// The page: which conversation is shown, and what the buttons and keys do.

import * as api from "./api.js";
import {answer, isRunning, stop} from "./chat.js";
import {announce, element, find, iconButton, toast} from "./dom.js";
import {imageSource, messageView} from "./message.js";
import {showSettings} from "./settings.js";
import * as storage from "./storage.js";

const kMaxImageBytes = 20 << 20;

let conversations = storage.loadConversations();
let current = conversations[0] ?? storage.newConversation();
let models = null;           // null: not known yet
let views = [];              // of current.messages
let attached = [];           // images of the next message, as base64
let isEditing = false;
let isFollowing = true;      // whether the end of the thread stays in sight
const descriptions = new Map();  // model -> answer of /api/show

// ---- drawing

function save(conversation = current) {
  if (conversation.messages.length === 0 || !conversations.includes(conversation)) return;
  if (!storage.saveConversation(conversation)) toast("This browser has no room left: delete conversations to keep this one.");
}

let lastSave = 0;
let isDrawScheduled = false;

function scheduleDraw(conversation) {
  if (performance.now() - lastSave > 1000) {
    lastSave = performance.now();
    save(conversation);
  }
  if (conversation !== current || isDrawScheduled) return;
  isDrawScheduled = true;
  // A hidden page gets no frames; a timer draws it all the same.
  const draw = () => { isDrawScheduled = false; drawThread(); };
  if (document.hidden) setTimeout(draw, 200);
  else requestAnimationFrame(draw);
}

function drawThread() {
  const thread = find("thread");
  const {messages} = current;
  while (views.length > 0 && (views.length > messages.length || views.at(-1).message !== messages[views.length - 1])) views.pop().node.remove();
  for (const message of messages.slice(views.length)) {
    const view = {message, ...messageView(message, {edit: beginEdit, regenerate})};
    views.push(view);
    thread.append(view.node);
  }
  const lastUser = messages.findLastIndex((message) => message.role === "user");
  const running = isRunning(current);
  views.forEach((view, i) => {
    if (view.message.state === "running" || view.drawn !== signature(view, i, lastUser, running)) {
      view.update(!running && (view.message.role === "user" ? i === lastUser : i === messages.length - 1));
      view.drawn = signature(view, i, lastUser, running);
    }
  });
  find("empty").hidden = messages.length > 0;
  find("export").disabled = messages.length === 0;
  find("send").hidden = running;
  find("stop").hidden = !running;
  if (isFollowing) find("scroller").scrollTop = find("scroller").scrollHeight;
}

// What the look of a finished message depends on.
const signature = (view, i, lastUser, running) => [view.message.state, i === lastUser, i === current.messages.length - 1, running].join();

function drawList() {
  find("conversations").replaceChildren(...conversations.map((conversation) => {
    const isCurrent = conversation === current;
    const title = conversation.title || "New chat";
    return element("li", {class: isCurrent ? "current" : null},
      element("button", {type: "button", class: "open", "aria-current": isCurrent ? "true" : null, onclick: () => open(conversation)}, title),
      iconButton("trash", `Delete “${title}”`, () => remove(conversation), {class: "quiet delete"}));
  }));
}

function drawEmpty() {
  const place = find("empty");
  if (models !== null && models.length === 0) {
    place.replaceChildren(element("h2", {}, "No model is installed yet"),
      element("p", {}, "Make one from a GGUF file, then reload this page:"),
      element("pre", {}, element("code", {}, "ollamax create mine -f Modelfile    # FROM ./model.gguf")));
  } else {
    place.replaceChildren(element("img", {src: "web/icon.svg", alt: "", width: 40, height: 40}), element("h2", {}, "What is on your mind?"),
      element("p", {}, "Everything stays between this browser and your server."));
  }
}

async function drawModel() {
  const {model} = current;
  const facts = find("model-facts");
  find("prompt").placeholder = model ? `Write to ${shortName(model)}` : "Write a message";
  if (!descriptions.has(model)) facts.textContent = "";
  const shown = await describe(model);
  if (model !== current.model) return;  // another was chosen meanwhile
  const capabilities = shown?.capabilities ?? [];
  const details = shown?.details ?? {};
  const abilities = capabilities.filter((name) => name !== "completion");
  facts.textContent = [details.parameter_size, details.quantization_level, ...abilities].filter(Boolean).join(" · ");
  find("attach").hidden = !capabilities.includes("vision");
  if (!capabilities.includes("vision") && attached.length > 0) setAttached([]);
}

// The answer of /api/show; null where there is none.
async function describe(model) {
  if (model && !descriptions.has(model)) {
    const shown = await api.showModel(model).catch(() => null);
    if (shown) descriptions.set(model, shown);
  }
  return descriptions.get(model) ?? null;
}

async function openSettings() {
  const conversation = current;
  const shown = await describe(conversation.model);
  if (conversation !== current || find("settings").open) return;
  showSettings(conversation, shown, () => { save(conversation); drawSettingsMark(); });
  find("settings").showModal();
}

function drawSettingsMark() {
  const isChanged = Boolean(current.system.trim() || Object.keys(current.options).length || current.keepAlive || current.think || current.tools.trim());
  find("open-settings").classList.toggle("marked", isChanged);
}

const shortName = (model) => model.replace(/:latest$/, "");

function drawPicker() {
  const names = (models ?? []).map((entry) => entry.model);
  if (current.model && !names.includes(current.model)) names.unshift(current.model);
  find("model").replaceChildren(...names.map((name) => element("option", {value: name}, shortName(name))));
  find("model").value = current.model;
  find("model").disabled = names.length === 0;
}

function drawAll() {
  views.forEach((view) => view.node.remove());
  views = [];
  isFollowing = true;
  drawPicker();
  drawModel();
  drawSettingsMark();
  drawList();
  drawEmpty();
  drawThread();
}

// ---- conversations

function open(conversation) {
  endEdit();
  current = conversation;
  if (!current.model) current.model = defaultModel();
  drawAll();
  showSidebar(false);
  find("prompt").focus();
}

function newChat() {
  open(storage.newConversation(current));
}

function remove(conversation) {
  stop(conversation);
  const at = conversations.indexOf(conversation);
  conversations.splice(at, 1);
  storage.removeConversation(conversation);
  if (conversation === current) open(conversations[Math.min(at, conversations.length - 1)] ?? storage.newConversation(conversation));
  else drawList();
  toast("Conversation deleted.", "Undo", () => {
    conversations.splice(at, 0, conversation);
    save(conversation);
    open(conversation);
  });
}

// ---- sending

async function send() {
  const text = find("prompt").value.trim();
  if (isRunning(current) || (text === "" && attached.length === 0)) return;
  if (!current.model) return toast(models?.length === 0 ? "No model is installed yet." : "The models are not known yet.");
  const conversation = current;
  if (isEditing) conversation.messages.splice(conversation.messages.findLastIndex((message) => message.role === "user"));
  const message = {role: "user", content: text};
  if (attached.length > 0) message.images = attached;
  conversation.messages.push(message);
  if (conversation.title === "" || conversation.messages.length === 1) conversation.title = text.replace(/\s+/g, " ").slice(0, 60) || "Image";
  endEdit();
  find("prompt").value = "";
  setAttached([]);
  fitPrompt();
  await run(conversation);
}

async function run(conversation) {
  conversations = [conversation, ...conversations.filter((other) => other !== conversation)];
  conversation.updated = Date.now();
  if (conversation === current) isFollowing = true;
  drawList();
  announce(`${shortName(conversation.model)} is answering`);
  try {
    await answer(conversation, () => scheduleDraw(conversation));
  } catch (error) {
    drawAll();
    return askKey(() => run(conversation));
  }
  conversation.updated = Date.now();
  save(conversation);
  if (conversation !== current) return;
  drawThread();
  const {state, error} = conversation.messages.at(-1) ?? {};
  if (state === "done") announce(views.at(-1).node.querySelector(".answer").textContent || "The answer is empty.");
  else if (state === "stopped") announce("Stopped.");
  else if (state === "failed") announce(error);
}

function regenerate() {
  if (isRunning(current)) return;
  const {messages} = current;
  messages.splice(messages.findLastIndex((message) => message.role === "user") + 1);
  find("prompt").focus();
  run(current);
}

function beginEdit() {
  const message = current.messages.findLast((candidate) => candidate.role === "user");
  if (!message || isRunning(current)) return;
  isEditing = true;
  find("editing").hidden = false;
  find("prompt").value = message.content;
  setAttached(message.images ?? []);
  fitPrompt();
  find("prompt").focus();
}

function endEdit() {
  if (!isEditing) return;
  isEditing = false;
  find("editing").hidden = true;
  find("prompt").value = "";
  setAttached([]);
  fitPrompt();
}

// ---- images

function setAttached(images) {
  attached = images;
  find("attached").hidden = images.length === 0;
  find("attached").replaceChildren(...images.map((data, i) => element("li", {},
    element("img", {src: imageSource(data), alt: `Image ${i + 1}`}),
    iconButton("close", `Remove image ${i + 1}`, () => setAttached(attached.filter((_, other) => other !== i))))));
}

function readImage(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function attach(files) {
  for (const file of files) {
    if (!/^image\/(png|jpeg|webp)$/.test(file.type)) toast(`${file.name} is no PNG, JPEG or WebP image.`);
    else if (file.size > kMaxImageBytes) toast(`${file.name} is larger than 20 MB.`);
    else setAttached([...attached, await readImage(file)]);
  }
}

// ---- the frame around it

const narrow = matchMedia("(max-width: 760px)");

function showSidebar(isShown) {
  const isOver = isShown && narrow.matches;
  document.body.classList.toggle("sidebar-open", isOver);
  find("sidebar").inert = narrow.matches && !isOver;
  find("stage").inert = isOver;
  find("open-sidebar").setAttribute("aria-expanded", String(isOver));
  if (isOver) find("close-sidebar").focus();
}

function fitPrompt() {
  const prompt = find("prompt");
  prompt.style.height = "auto";
  prompt.style.height = Math.min(prompt.scrollHeight, innerHeight * 0.4) + "px";
}

const kThemes = {auto: "as the system has it", light: "light", dark: "dark"};

function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  storage.choose("theme", name === "auto" ? null : name);
  find("theme").title = "Theme: " + kThemes[name];
  find("theme").setAttribute("aria-label", "Theme: " + kThemes[name]);
}

function nextTheme() {
  const names = Object.keys(kThemes);
  const name = names[(names.indexOf(storage.choice("theme") ?? "auto") + 1) % names.length];
  setTheme(name);
  announce("Theme: " + kThemes[name]);
}

let afterKey = null;

function askKey(then) {
  afterKey = then;
  find("key").value = "";
  if (!find("key-dialog").open) find("key-dialog").showModal();
}

const defaultModel = () => {
  const last = storage.choice("model");
  return models?.some((entry) => entry.model === last) ? last : models?.[0]?.model ?? "";
};

async function loadModels() {
  try {
    models = await api.listModels();
    find("server-line").textContent = "version " + await api.version();
  } catch (error) {
    if (error.status === 401) return askKey(loadModels);
    find("server-line").textContent = "";
    return toast(error.message, "Try again", loadModels);
  }
  if (!current.model) current.model = defaultModel();
  drawPicker();
  drawModel();
  drawEmpty();
}

function listen() {
  find("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  find("prompt").addEventListener("input", fitPrompt);
  find("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  find("prompt").addEventListener("paste", (event) => {
    if (!find("attach").hidden && event.clipboardData.files.length > 0) attach(event.clipboardData.files);
  });
  find("stop").addEventListener("click", () => { stop(current); find("prompt").focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (document.body.classList.contains("sidebar-open")) { showSidebar(false); find("open-sidebar").focus(); }
    else if (isRunning(current)) stop(current);
    else endEdit();
  });
  find("model").addEventListener("change", () => {
    current.model = find("model").value;
    storage.choose("model", current.model);
    save();
    drawModel();
  });
  find("new-chat").addEventListener("click", newChat);
  find("export").addEventListener("click", () => storage.exportConversation(current));
  find("theme").addEventListener("click", nextTheme);
  find("open-settings").addEventListener("click", openSettings);
  find("settings").addEventListener("click", (event) => { if (event.target === find("settings")) find("settings").close(); });
  find("cancel-edit").addEventListener("click", () => { endEdit(); find("prompt").focus(); });
  find("attach").addEventListener("click", () => find("images").click());
  find("images").addEventListener("change", async () => { await attach(find("images").files); find("images").value = ""; });
  find("open-sidebar").addEventListener("click", () => showSidebar(true));
  find("close-sidebar").addEventListener("click", () => { showSidebar(false); find("open-sidebar").focus(); });
  find("shade").addEventListener("click", () => showSidebar(false));
  narrow.addEventListener("change", () => showSidebar(false));
  find("scroller").addEventListener("scroll", () => {
    const {scrollTop, clientHeight, scrollHeight} = find("scroller");
    isFollowing = scrollTop + clientHeight > scrollHeight - 60;
  });
  find("key-dialog").addEventListener("cancel", (event) => event.preventDefault());  // nothing works without a key
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    api.setKey(find("key").value.trim(), find("key-remember").checked);
    find("key-dialog").close();
    afterKey?.();
  });
  addEventListener("pagehide", () => conversations.filter(isRunning).forEach(save));
  addEventListener("storage", (event) => {  // another tab has written
    if (!storage.isConversationKey(event.key)) return;
    const kept = conversations.filter((conversation) => conversation === current || isRunning(conversation));
    const others = storage.loadConversations().filter((stored) => !kept.some((own) => own.id === stored.id));
    conversations = [...kept, ...others].sort((left, right) => right.updated - left.updated);
    drawList();
  });
}

setTheme(storage.choice("theme") ?? "auto");
listen();
showSidebar(false);
drawAll();
loadModels();
find("prompt").focus();
