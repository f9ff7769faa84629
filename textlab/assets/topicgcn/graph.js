// Made from nbs/21_topicgcn.graph.ipynb; edit that page, not this file.

'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const find = selector => document.querySelector(selector);

function html(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function draw(tag, attributes, parent) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent.append(node);
  return node;
}

const topics = data.topics;
const order = topics.map((_, k) => k).sort((a, b) => topics[b].mass - topics[a].mass);
let chosen = null;
let hits = null;

const nameOf = k => topics[k].words.slice(0, 3).join(' ');
const colorOf = k => topics[k].labels.length ? data.colors[topics[k].labels[0][0]] : data.plain[k];
const percent = share => (100 * share).toFixed(share < .0995 ? 1 : 0) + ' %';
const dot = color => html('i', {style: 'background:' + color});

const svg = find('svg');

const lines = data.edges.map(([i, j, weight]) => {
  const [x1, y1] = data.xy[i], [x2, y2] = data.xy[j];
  const line = draw('line', {x1, y1, x2, y2, 'stroke-width': .7 + 3 * weight, 'stroke-opacity': .4}, svg);
  line.ends = [i, j];
  return line;
});

function bubble(k) {
  const label = 'Topic ' + k + ': ' + topics[k].words.slice(0, 6).join(', ');
  const node = draw('g', {class: 'topic', tabindex: 0, role: 'button', 'aria-label': label}, svg);
  const [cx, cy] = data.xy[k];
  draw('circle', {cx, cy, r: data.r[k], fill: colorOf(k), 'fill-opacity': .75}, node);
  node.onclick = () => { if (!moved) openTopic(k); };
  node.onmouseenter = node.onfocus = () => { if (chosen === null) mark(k); };
  node.onmouseleave = () => { if (chosen === null) mark(null); };
  node.onkeydown = event => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    openTopic(k);
    event.preventDefault();
  };
  return node;
}

const nodes = [];
for (const k of order) nodes[k] = bubble(k);

const names = draw('g', {class: 'names', 'aria-hidden': true}, svg);
const texts = [];
for (const k of order) {
  texts[k] = draw('text', {x: data.xy[k][0], y: data.xy[k][1], 'dominant-baseline': 'central'}, names);
  texts[k].textContent = nameOf(k);
}

const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

function placeNames() {
  const frame = svg.getBoundingClientRect();
  const pixels = Math.min(frame.width / box.width, frame.height / box.height) || 1;   // per unit of the map
  const size = 12 / pixels;
  const kept = [];
  for (const k of order) {
    const text = texts[k], [x, y] = data.xy[k];
    const width = text.textContent.length * size * .54;
    const place = {left: x - width / 2, right: x + width / 2, top: y - size * .7, bottom: y + size * .7};
    const free = kept.every(other => apart(place, other));
    if (free) kept.push(place);
    text.style.fontSize = size + 'px';
    text.style.strokeWidth = size / 4;
    text.style.display = free || k === chosen ? '' : 'none';
  }
}

function mark(k) {
  const near = k === null ? null : new Set([k, ...topics[k].near.map(([j]) => j)]);
  const shown = near || hits;
  nodes.forEach((node, j) => {
    const faded = shown !== null && !shown.has(j);
    node.classList.toggle('chosen', j === k);
    node.classList.toggle('faded', faded);
    texts[j].classList.toggle('faded', faded);
  });
  for (const line of lines) line.classList.toggle('faded', near ? !line.ends.includes(k) : hits !== null);
}

const side = find('aside');

function show(...children) {
  side.replaceChildren(...children);
  side.scrollTop = 0;
  placeNames();
}

function topicRow(k, note) {
  const properties = {className: 'row', onclick: () => openTopic(k, true)};
  return html('button', properties, dot(colorOf(k)), nameOf(k) + ' ', html('small', {}, note));
}

function listTopics() {
  chosen = null;
  mark(null);
  const rows = order.filter(k => !hits || hits.has(k));
  const documents = data.n.toLocaleString('en') + ' documents';
  const title = hits ? rows.length + ' of ' + order.length + ' topics' : order.length + ' topics, ' + documents;
  show(html('h2', {}, title), html('small', {}, 'and their share of the text'),
    ...rows.map(k => topicRow(k, percent(topics[k].mass))));
}

const wordButton = word => html('button', {onclick: () => { find('input').value = word; search(); }}, word);

function labelPart(labels) {
  if (!labels.length) return [];
  const part = ([c, share]) => html('span', {style: 'width:' + 100 * share + '%;background:' + data.colors[c]});
  const entry = ([c, share]) =>
    html('span', {className: 'dot'}, dot(data.colors[c]), data.classes[c] + ' ' + percent(share));
  return [html('h3', {}, 'Labels'), html('div', {className: 'bar', title: 'labels'}, ...labels.map(part)),
    html('div', {}, ...labels.map(entry))];
}

function documentCard(doc) {
  const note = percent(doc.share) + (doc.label ? ' · ' + doc.label : '');
  return html('article', {}, html('b', {}, doc.title), ' ', html('small', {}, note), html('p', {}, doc.text));
}

function openTopic(k, focus) {
  chosen = k;
  mark(k);
  const topic = topics[k];
  const size = percent(topic.mass) + ' of the text, ' + topic.n.toLocaleString('en') + ' documents';
  show(html('button', {onclick: listTopics}, '← all topics'),
    html('h2', {}, 'Topic ' + k + ': ' + nameOf(k)), html('small', {}, size),
    html('h3', {}, 'Words'), html('div', {}, ...topic.words.map(wordButton)),
    ...labelPart(topic.labels),
    html('h3', {}, topic.near.length ? 'Nearest topics' : 'No topic is near'),
    ...topic.near.map(([j, cosine]) => topicRow(j, cosine.toFixed(2))),
    html('h3', {}, topic.docs.length ? 'Documents that hold most of it' : 'No document holds it'),
    ...topic.docs.map(documentCard));
  if (focus) nodes[k].focus({preventScroll: true});
}

function search() {
  const query = find('input').value.trim().toLowerCase();
  const holds = k => topics[k].words.some(word => word.toLowerCase().includes(query));
  hits = query ? new Set(order.filter(holds)) : null;
  listTopics();
}
find('input').oninput = search;

function stepTopic(direction) {
  const now = order.indexOf(nodes.indexOf(document.activeElement));
  const next = order[(now + direction + order.length) % order.length];
  nodes[next].focus();
  if (chosen !== null) openTopic(next);
}

onkeydown = event => {
  const input = find('input');
  const typing = document.activeElement === input;
  if (event.key === 'Escape') {
    input.value = '';
    search();
    input.blur();
  } else if (typing) {
    return;
  } else if (event.key === '/') {
    input.focus();
    event.preventDefault();
  } else if (event.key.startsWith('Arrow') && svg.contains(document.activeElement)) {
    stepTopic(event.key === 'ArrowRight' || event.key === 'ArrowDown' ? 1 : -1);
    event.preventDefault();
  }
};

let box = {x: -60, y: -70, width: 1120, height: 800};
let drag = null;
let moved = false;
const showBox = () => svg.setAttribute('viewBox', [box.x, box.y, box.width, box.height].join(' '));

svg.onwheel = event => {
  event.preventDefault();
  const factor = event.deltaY > 0 ? 1.15 : 1 / 1.15;
  if (box.width * factor > 4000 || box.width * factor < 80) return;
  const frame = svg.getBoundingClientRect();
  const x = box.x + (event.clientX - frame.left) / frame.width * box.width;
  const y = box.y + (event.clientY - frame.top) / frame.height * box.height;
  box = {x: x - (x - box.x) * factor, y: y - (y - box.y) * factor,
    width: box.width * factor, height: box.height * factor};
  showBox();
  placeNames();
};

svg.onpointerdown = event => {
  drag = {x: event.clientX, y: event.clientY, box};
  moved = false;
};
onpointermove = event => {
  if (!drag) return;
  const frame = svg.getBoundingClientRect();
  const scale = Math.max(drag.box.width / frame.width, drag.box.height / frame.height);
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (Math.abs(dx) + Math.abs(dy) > 5) moved = true;
  if (!moved) return;
  box = {...drag.box, x: drag.box.x - dx * scale, y: drag.box.y - dy * scale};
  showBox();
};
onpointerup = () => { drag = null; };
onresize = placeNames;

if (data.classes.length > 1 && data.classes.length <= 20) {
  data.classes.forEach((label, c) => find('#key').append(html('span', {}, dot(data.colors[c]), label)));
}
showBox();
listTopics();
const start = location.hash.match(/^#topic-(\d+)$/);
if (start && topics[start[1]]) openTopic(Number(start[1]));
