// Sets the chosen theme before the first paint; loaded in the head, not as a module, for that reason alone.
"use strict";
try {
  const theme = localStorage.getItem("ollamax.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is shut: the system's theme is used.
}
