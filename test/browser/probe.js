// What the tests ask of the page, from within.
const CHANGES = { subtree: true, childList: true, characterData: true, attributes: true };

window.probe = {
  uploadId: null, // of the last upload

  // Calls done() as soon as the condition holds; it is looked at after every change.
  waitFor(condition, done) {
    const holds = new Function(`return (${condition});`);
    const look = () => {
      if (!holds()) return;
      observer.disconnect();
      done();
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, CHANGES);
    look();
  },

  // The values that the elements of these ids have had since.
  record(...ids) {
    this.seen = Object.fromEntries(ids.map((id) => [id, []]));
    for (const id of ids) {
      const element = document.getElementById(id);
      new MutationObserver(() => {
        this.seen[id].push(element.value ?? element.textContent);
      }).observe(element, CHANGES);
    }
  },

  drop(name, text) {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], name));
    document.getElementById("drop").dispatchEvent(
      new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }),
    );
  },

  // Texts whose contrast is below that of WCAG 2.2, 1.4.3 (AA).
  faintTexts() {
    const faint = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
      if (element.disabled) continue; // exempt
      const ratio = contrast(element);
      if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
    }
    return faint;
  },

  // Elements that stick out of the page at its sides.
  overflowing() {
    const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll("main *")]
      .filter((element) => element.checkVisibility() && element.id !== "file")
      .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.left < -0.5 || box.right > width + 0.5;
      })
      .map((element) => element.outerHTML.slice(0, 80));
  },
};

const { open } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.open = function (method, url) {
  [, probe.uploadId] = url.match(/uploads\/([^?]+)/);
  open.call(this, method, url);
};

function numbers(colour) {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return { red, green, blue, alpha };
}

function background(element) {
  const colour = numbers(getComputedStyle(element).backgroundColor);
  return colour.alpha === 1 ? colour : background(element.parentElement);
}

function luminance({ red, green, blue }) {
  const [r, g, b] = [red, green, blue].map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(element) {
  const text = luminance(numbers(getComputedStyle(element).color));
  const behind = luminance(background(element));
  return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
}
