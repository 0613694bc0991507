// Runs before the page is drawn, so that it never flashes in another theme. Not a module for that reason.

(() => {
  try {
    const { theme } = JSON.parse(localStorage.getItem("native-host.settings") ?? "{}");
    if (theme && theme !== "system") document.documentElement.dataset.theme = theme;
  } catch {
    // The operating system's theme, then.
  }
})();
