// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

const marks = {hits: [], written: [], cross: null};

function shape(tag, attributes, text = '') {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
const ring = ([cx, cy], r, kind) => shape('circle', {cx, cy, r, class: kind});
const stroke = (x1, y1, x2, y2, kind) => shape('line', {x1, y1, x2, y2, class: kind});

function writtenMark({x, y, lands, number}) {
  const [a, b] = pixelOf(x, y), drawn = [stroke(a - 5, b - 5, a + 5, b + 5), stroke(a - 5, b + 5, a + 5, b - 5)];
  drawn.push(shape('text', {x: a + 8, y: b - 6}, number));
  if (!lands) return drawn;
  const [c, d] = pixelOf(...lands);
  return [stroke(a, b, c, d, 'way'), ring([c, d], 6), ...drawn];
}

function drawMarks() {
  const {width, height} = frame(), drawn = marks.hits.map(at => ring(pixelOf(...at), 9, 'hit'));
  drawn.push(...marks.written.flatMap(writtenMark));
  if (marks.cross) {
    const [a, b] = pixelOf(...marks.cross);
    drawn.push(stroke(a, 0, a, height, 'cross'), stroke(0, b, width, b, 'cross'));
  }
  $('marks').replaceChildren(...drawn);
}
