// What the theme's own script does, where that does not run: Debian's is a module, and
// loaded as if it were none.
window.addEventListener("load", () => {
    const root = document.documentElement;
    if (!root.classList.contains("no-js")) return;
    root.classList.remove("no-js");

    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const themes = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    for (const button of document.getElementsByClassName("theme-toggle")) {
        button.addEventListener("click", () => {
            const body = document.body;
            const next = themes[(themes.indexOf(body.dataset.theme) + 1) % themes.length];
            body.dataset.theme = next;
            localStorage.setItem("theme", next);
        });
    }
});
