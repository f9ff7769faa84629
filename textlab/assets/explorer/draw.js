// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

const VERTEX = `
attribute vec2 at;
attribute vec3 ink;
uniform vec2 middle, scale;
uniform float size;
varying vec3 color;
void main() {
  gl_Position = vec4((at - middle)*scale, 0., 1.);
  gl_PointSize = size;
  color = ink;
}`;
const FRAGMENT = `
precision mediump float;
varying vec3 color;
void main() {
  float cover = .8*smoothstep(.5, .4, length(gl_PointCoord - .5));
  gl_FragColor = vec4(color*cover, cover);
}`;

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  gl.useProgram(made);
  return made;
}

// Numbers for the card: `wide` of them for each point, under a name of the program
function toCard(gl, made, name, values, wide) {
  const kind = values instanceof Float32Array ? gl.FLOAT : gl.UNSIGNED_BYTE, place = gl.getAttribLocation(made, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, wide, kind, kind !== gl.FLOAT, 0, 0);
}

// What draws N points: `places` [2N], around the middle of the map; then `draw(middle, scale, size)` on every frame
function onCard(canvas, places) {
  const gl = canvas.getContext('webgl', {antialias: false, premultipliedAlpha: true});
  if (!gl) return null;
  const made = program(gl), where = name => gl.getUniformLocation(made, name);
  toCard(gl, made, 'at', places, 2);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  return {
    ink: colors => toCard(gl, made, 'ink', colors, 3),
    draw(middle, scale, size) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(where('middle'), ...middle);
      gl.uniform2f(where('scale'), ...scale);
      gl.uniform1f(where('size'), size);
      gl.drawArrays(gl.POINTS, 0, places.length/2);
    },
    finish: () => gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)),
  };
}

function onCanvas(canvas, places) {
  const pen = canvas.getContext('2d');
  let groups = [];
  return {
    ink(colors) {
      const rows = new Map();
      for (let i = 0; i < places.length/2; i++) {
        const color = `rgb(${colors[3*i]}, ${colors[3*i + 1]}, ${colors[3*i + 2]})`;
        if (!rows.has(color)) rows.set(color, []);
        rows.get(color).push(i);
      }
      groups = [...rows];
    },
    draw([a, b], [right, up], size) {
      const {width, height} = canvas;
      pen.clearRect(0, 0, width, height);
      pen.globalAlpha = .8;
      for (const [color, rows] of groups) {
        pen.fillStyle = color;
        for (const i of rows) {
          const px = (1 + (places[2*i] - a)*right)*width/2, py = (1 - (places[2*i + 1] - b)*up)*height/2;
          pen.fillRect(px - size/2, py - size/2, size, size);
        }
      }
    },
    finish: () => pen.getImageData(0, 0, 1, 1),
  };
}

const GREY = '#8a9097';

// The legend, and the colour of each row: [3N] bytes
function coloured(column, palette, n) {
  const inks = [...palette, GREY].map(c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16)));
  const colors = new Uint8Array(3*n), sizes = new Map();
  for (const g of column ? column.of : []) sizes.set(g, (sizes.get(g) || 0) + 1);
  const large = [...sizes.keys()].sort((a, b) => sizes.get(b) - sizes.get(a)), shown = large.slice(0, palette.length);
  const rank = new Map(shown.map((g, i) => [g, i]));
  for (let i = 0; i < n; i++) colors.set(inks[column ? rank.get(column.of[i]) ?? palette.length : 0], 3*i);
  const key = shown.map((g, i) => ({name: column.names[g] || '(none)', color: palette[i]}));
  if (large.length > shown.length) key.push({name: `${large.length - shown.length} others`, color: GREY});
  return {key, colors};
}

const camera = {x: [0, 1], y: [0, 1]};
const frame = () => $('plot').getBoundingClientRect();
const span = ([a, b]) => b - a, half = ([a, b]) => (a + b)/2;
let painter = null, inks = null, centre = [0, 0], planned = false, dots = 4;

// Pixels of the picture to a place, a place to pixels
function placeOf(px, py) {
  const {width, height} = frame();
  return [camera.x[0] + span(camera.x)*px/width, camera.y[1] - span(camera.y)*py/height];
}
function pixelOf(x, y) {
  const {width, height} = frame();
  return [(x - camera.x[0])/span(camera.x)*width, (camera.y[1] - y)/span(camera.y)*height];
}
const unit = () => span(camera.x)/Math.max(frame().width, 1);   // one pixel

// Choose what draws, and hand it the points
function startPainter(data, low, high) {
  const places = new Float32Array(2*data.x.length);
  centre = [half([low[0], high[0]]), half([low[1], high[1]])];
  data.x.forEach((x, i) => { places[2*i] = x - centre[0]; places[2*i + 1] = data.y[i] - centre[1]; });
  dots = data.x.length < 1000 ? 9 : data.x.length < 20000 ? 6 : 3.5;
  painter = onCard($('plot'), places) || onCanvas($('plot'), places);
  $('plot').addEventListener('webglcontextlost', () => {   // the card went away: go on without it
    const canvas = make('canvas');
    canvas.id = 'plot';
    $('plot').replaceWith(canvas);
    painter = onCanvas(canvas, places);
    painter.ink(inks);
    draw();
  });
}

function drawNow() {
  const canvas = $('plot'), {width, height} = frame(), ratio = devicePixelRatio || 1;
  const [w, h] = [width, height].map(v => Math.max(1, Math.round(v*ratio)));
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const middle = [half(camera.x) - centre[0], half(camera.y) - centre[1]];
  painter.draw(middle, [2/span(camera.x), 2/span(camera.y)], dots*ratio);
  drawMarks();
}

// Draw once with the next frame, however often the camera moves until then
function draw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; drawNow(); });
}
function look(x, y) {
  [camera.x, camera.y] = [x, y];
  draw();
}

// The ranges that show a rectangle of the map with some room around it, and the same scale both ways
function rangesAround(low, high, least = 0) {
  const {width, height} = frame(), middle = low.map((v, d) => half([v, high[d]]));
  const scale = Math.max(1.12*(high[0] - low[0])/width, 1.12*(high[1] - low[1])/height, least/Math.min(width, height));
  return middle.map((m, d) => [m - [width, height][d]*scale/2, m + [width, height][d]*scale/2]);
}

const calm = matchMedia('(prefers-reduced-motion: reduce)');
async function fly([x, y], steps = calm.matches ? 1 : 20) {
  const from = [camera.x, camera.y];
  for (let s = 1; s <= steps; s++) {
    const t = s/steps, ease = t*t*(3 - 2*t);
    look(...[x, y].map((to, d) => to.map((end, i) => from[d][i] + ease*(end - from[d][i]))));
    await new Promise(requestAnimationFrame);
  }
}

// Nearer or farther, around a place
function zoom(factor, [x, y] = [half(camera.x), half(camera.y)]) {
  const around = (range, at) => range.map(v => at + (v - at)*factor);
  look(around(camera.x, x), around(camera.y, y));
}
function pan(px, py) {
  const u = unit();
  look(camera.x.map(v => v - px*u), camera.y.map(v => v + py*u));
}
