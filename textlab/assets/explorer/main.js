// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

async function explore(source) {
  let data;
  try {
    data = await source.map();
  } catch (error) {
    say('');
    return refuse(error.message);
  }
  const row = new Map(data.ids.map((id, i) => [id, i])), grid = makeGrid(data.x, data.y);
  const place = i => [data.x[i], data.y[i]], kept = [];
  const writes = Boolean(source.write && data.methods.length);
  const column = () => data.colours[$('colour').selectedIndex];
  const nameOf = i => data.titles[i] || data.ids[i];
  const labelOf = i => column() ? column().names[column().of[i]] : '';

  // Colours and ways to write
  const option = (list, name) => list.append(make('option', name));
  data.colours.forEach(c => option($('colour'), c.name));
  $('colour').parentElement.hidden = !data.colours.length;
  data.methods.forEach(m => option($('method'), m));
  $('ways').hidden = !writes;
  $('how').textContent = `${data.x.length.toLocaleString('en')} documents. ` +
    (writes ? 'Click anywhere on the map, also on empty ground, to write a text for that place. ' : '') +
    (writes && data.note ? `${data.note} ` : '') +
    'With the keyboard: arrow keys move a cross-hair, Enter ' +
    (writes ? 'writes, ' : 'opens the nearest document, ') +
    '+ and − zoom, 0 shows the whole map.';

  function paint() {
    const {key, colors} = coloured(column(), data.palette, data.x.length);
    $('key').replaceChildren(...key.map(({name, color}) => {
      const dot = shape('svg', {viewBox: '0 0 10 10'});
      dot.append(shape('circle', {cx: 5, cy: 5, r: 5, fill: color}));
      return make('span', '', '', dot, name);
    }));
    inks = colors;
    painter.ink(inks);
    draw();
  }

  // The document under the pointer or the cross-hair
  function tell(i, px, py) {
    $('tip').hidden = i < 0;
    if (i < 0) return;
    $('tip').textContent = [nameOf(i), labelOf(i)].filter(Boolean).join(' · ');
    const {width, height} = frame(), {offsetWidth, offsetHeight} = $('tip');
    $('tip').style.left = `${Math.max(4, Math.min(px + 12, width - offsetWidth - 4))}px`;
    $('tip').style.top = `${Math.max(4, Math.min(py + 14, height - offsetHeight - 4))}px`;
  }
  function nearest(at) {
    let r = 12*unit(), i = grid.nearest(...at, r);
    for (; i < 0 && r < 1e9*unit(); r *= 2) i = grid.nearest(...at, r);
    return i;
  }
  const clear = () => { refuse(''); $('tip').hidden = true; };

  // Open a document, or show a written text; both are flown to
  async function open(id, entry) {
    if (entry) return fly(rangesAround(...corners([[entry.x, entry.y], entry.lands || [entry.x, entry.y]]), away()));
    clear();
    if (row.has(id)) fly(rangesAround(place(row.get(id)), place(row.get(id)), away()));
    try {
      const {title, text} = await source.read(id);
      const close = push('Close', () => { $('opened').hidden = true; });
      const label = row.has(id) ? labelOf(row.get(id)) : '';
      $('opened').replaceChildren(make('div', '', 'card', make('h2', title || id, '', close),
        make('p', label, 'about'), make('p', text, 'whole')));
      $('opened').hidden = false;
      marks.hits = row.has(id) ? [place(row.get(id))] : [];
      drawMarks();
      say(`Opened: ${title || id}`);
    } catch (error) {
      refuse(error.message);
    }
  }
  const away = () => Math.max(grid.high[0] - grid.low[0], grid.high[1] - grid.low[1])/8;
  const corners = places => [Math.min, Math.max].map(f => [0, 1].map(d => f(...places.map(p => p[d]))));

  // Search: rings around the hits, a list of them, and the camera goes where they are
  async function search(q) {
    clear();
    say('Searching …');
    try {
      const {hits} = await source.search(q);
      const places = hits.filter(h => row.has(h.id)).map(h => place(row.get(h.id)));
      marks.hits = places;
      $('hits').replaceChildren(...hits.map(h => make('li', '', 'card',
        push(h.title || h.id, () => open(h.id), 'near'), make('p', h.snippet, 'about'))));
      $('found').hidden = !hits.length;
      say(hits.length ? `${hits.length} documents found.` : 'Nothing found; try other words.');
      if (places.length) await fly(rangesAround(...corners(places), away()));
      drawMarks();
    } catch (error) {
      say('');
      refuse(error.message);
    }
  }
  $('ask').onsubmit = event => {
    event.preventDefault();
    if ($('q').value.trim()) search($('q').value.trim());
  };
  $('forget').onclick = () => {
    marks.hits = [];
    $('found').hidden = true;
    drawMarks();
  };

  // Write a text for a place; until it is there, its card can be cancelled
  async function write(x, y) {
    clear();
    const stop = new AbortController(), entry = {x, y, lands: null, number: kept.length + 1, method: $('method').value};
    const card = make('li', '', 'card', make('p', `Writing for ${number(x)}, ${number(y)} … `, 'about',
      push('Cancel', () => stop.abort())));
    kept.push(entry);
    marks.written.push(entry);
    $('desk').hidden = false;
    $('written').prepend(card);
    drawMarks();
    say(`Writing for the place ${number(x)}, ${number(y)} …`);
    try {
      const answer = await source.write(x, y, entry.method, stop.signal);
      entry.answer = answer;
      entry.lands = answer.chosen.x === null ? null : [answer.chosen.x, answer.chosen.y];
      card.replaceChildren(...writtenCard(entry, answer, open));
      say(`Written: ${answer.text_generation_result.title}`);
    } catch (error) {
      card.remove();
      marks.written.splice(marks.written.indexOf(entry), 1);
      $('desk').hidden = !$('written').children.length;
      say('');
      if (error.name === 'AbortError') say('Cancelled.');
      else refuse(error.message);
    }
    drawMarks();
  }
  const texts = () => kept.filter(e => e.answer);
  $('copy').onclick = () => copy(texts().map(e => e.answer.text_generation_result.title).join('\n\n'));
  $('save').onclick = () => download('written.json', JSON.stringify(texts().map(e => e.answer), null, 1));

  // The pointer: resting it tells, a click writes, dragging moves, the wheel and two fingers zoom
  const inside = event => {
    const {left, top} = frame();
    return [event.clientX - left, event.clientY - top];
  };
  const act = at => {
    const i = nearest(at);
    if (writes) write(...at);
    else if (i >= 0) open(data.ids[i]);
  };
  const held = new Map();
  let moved = 0;
  $('map').addEventListener('pointerdown', event => {
    if (event.target.closest('button') || event.button !== 0) return;
    held.set(event.pointerId, inside(event));
    moved = held.size > 1 ? Infinity : 0;
    $('map').setPointerCapture(event.pointerId);
  });
  $('map').addEventListener('pointermove', event => {
    const at = inside(event), before = held.get(event.pointerId);
    if (!before) return tell(grid.nearest(...placeOf(...at), 12*unit()), ...at);
    const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
    held.set(event.pointerId, at);
    const apart = ([a, b], [c, d]) => Math.max(Math.hypot(a - c, b - d), 1);
    if (other) return zoom(apart(before, other)/apart(at, other), placeOf(...other));
    moved += apart(at, before) - (at[0] === before[0] && at[1] === before[1]);
    if (moved > 4) pan(at[0] - before[0], at[1] - before[1]);
  });
  $('map').addEventListener('pointerup', event => {
    if (held.delete(event.pointerId) && moved <= 4) act(placeOf(...inside(event)));
  });
  $('map').addEventListener('pointercancel', event => { held.delete(event.pointerId); });
  $('map').addEventListener('pointerleave', () => { $('tip').hidden = true; });
  $('map').addEventListener('wheel', event => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY))/400), placeOf(...inside(event)));
  }, {passive: false});

  // The keyboard: a cross-hair, told in words when it rests
  let rest = null;
  function moveCross(right, up) {
    const middle = [camera.x, camera.y].map(([a, b]) => (a + b)/2), [x, y] = marks.cross || middle;
    const at = marks.cross = [x + right*unit(), y + up*unit()];
    const [px, py] = pixelOf(...at), {width, height} = frame();
    if (px < 0 || py < 0 || px > width || py > height) {
      look(camera.x.map(v => v + at[0] - middle[0]), camera.y.map(v => v + at[1] - middle[1]));
    }
    draw();
    const i = nearest(at);
    if (i >= 0) tell(i, ...pixelOf(...at));
    clearTimeout(rest);
    rest = setTimeout(() => {
      $('here').textContent = `${number(at[0])}, ${number(at[1])}. Nearest: ${i >= 0 ? nameOf(i) : 'nothing'}`;
    }, 250);
  }
  const whole = () => rangesAround(grid.low, grid.high, 1e-6);
  const keys = {
    ArrowLeft: s => moveCross(-s, 0), ArrowRight: s => moveCross(s, 0),
    ArrowUp: s => moveCross(0, s), ArrowDown: s => moveCross(0, -s),
    '+': () => zoom(.6, marks.cross || undefined), '=': () => zoom(.6, marks.cross || undefined),
    '-': () => zoom(1/.6, marks.cross || undefined), 0: () => fly(whole()),
    Escape: () => { marks.cross = null; clear(); drawMarks(); },
    Enter: () => { if (marks.cross) act(marks.cross); else moveCross(0, 0); },
  };
  $('map').addEventListener('keydown', event => {
    if (event.target !== $('map') || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key](event.shiftKey ? 2 : 20);
  });
  $('nearer').onclick = () => zoom(.6);
  $('farther').onclick = () => zoom(1/.6);
  $('whole').onclick = () => fly(whole());

  // First picture
  startPainter(data, grid.low, grid.high);
  [camera.x, camera.y] = whole();
  paint();
  $('colour').onchange = paint;
  let last = frame();
  new ResizeObserver(() => {
    const scale = span(camera.x)/Math.max(last.width, 1), {width, height} = last = frame();
    const around = (range, pixels) => [half(range) - pixels*scale/2, half(range) + pixels*scale/2];
    look(around(camera.x, width), around(camera.y, height));
  }).observe($('map'));
  await new Promise(requestAnimationFrame);
  say('');
  document.body.dataset.ready = 'yes';
  performance.mark('map');
}
