"""Questions to a page as a browser draws it.

How well every text can be read: page.evaluate(CONTRAST). How many controls are too small for a finger:
locator.evaluate_all(TOO_SMALL).
"""

TOO_SMALL = """all =>
  all.map(one => one.getBoundingClientRect()).filter(box => box.width < 24 || box.height < 24).length
"""

CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parts = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const linear = one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [x, y, z] = [r, g, b].map(one => linear(one / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || !element.checkVisibility() || element.closest('script, desc, title')) continue;
    seen += 1;
    const style = getComputedStyle(element);
    const [one, two] = [light(parts(element.closest('svg') ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) low.push([element.tagName, element.className, words.slice(0, 20), ratio]);
  }
  return [seen, low];
}"""
"""Returns how many texts were seen, and those whose contrast (WCAG 2) with what is behind them is below 4.5."""
