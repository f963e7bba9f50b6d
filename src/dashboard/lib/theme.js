// Light or dark, before anything is painted: a plain script, since a module would come too late.
(() => {
  const STORED = "openclaw-trace.theme";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(STORED);
    } catch {
      return null;
    }
  };
  const apply = () => {
    const theme = chosen() ?? (dark.matches ? "dark" : "light");
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    window.dispatchEvent(new Event("themechange"));
  };
  window.toggleTheme = () => {
    const next = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      // What the system says anyway needs no choice, so that the page follows it again.
      if ((next === "dark") === dark.matches) localStorage.removeItem(STORED);
      else localStorage.setItem(STORED, next);
    } catch {
      // Without storage the choice holds as long as the page.
    }
    root.dataset.theme = next;
    window.dispatchEvent(new Event("themechange"));
  };
  dark.addEventListener("change", apply);
  apply();
})();
