// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// Place and length of each word of a text that the question holds, too
function marks(text, query) {
  const wanted = new Set(terms(query));
  const found = [...text.matchAll(TERM)].filter(match => terms(match[0]).some(word => wanted.has(word)));
  return found.map(match => [match.index, match[0].length]);
}

// Where the best window of `width` letters starts, and where its last marked word ends. A window begins at each
// marked word; `next` is the first word that does not end inside it, and only moves to the right, as the window does.
function bestWindow(found, width) {
  let start = 0, last = 0, most = -1, letters = 0, next = 0;
  found.forEach(([at, length], i) => {
    while (next < found.length && found[next][0] + found[next][1] <= at + width) letters += found[next++][1];
    if (letters > most) {
      most = letters;
      start = at;
      last = next > i ? found[next - 1][0] + found[next - 1][1] : at;
    }
    if (next > i) letters -= length;
    else next = i + 1;
  });
  return [start, last];
}

function snippet(text, query, width = 160) {
  text = text.trim().replace(/\s+/g, ' ');
  if (text.length <= width) return text;
  const [best, last] = bestWindow(marks(text, query), width);
  const s = Math.max(0, Math.min(best - Math.min(width >> 2, best + width - last), text.length - width));
  let start = 0, end = text.length;
  if (s > 0) {
    const gap = text.indexOf(' ', s - 1);
    start = gap >= 0 && gap < best ? gap + 1 : best;
  }
  if (start + width < end) {
    const gap = text.lastIndexOf(' ', start + width);
    end = Math.max(gap < start ? -1 : gap, last, start + (width >> 1));
  }
  return (start ? '… ' : '') + text.slice(start, end) + (end < text.length ? ' …' : '');
}
