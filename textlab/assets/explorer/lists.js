// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

const $ = id => document.getElementById(id);

function make(tag, text = '', kind = '', ...children) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = kind;
  made.append(...children);
  return made;
}
function push(text, act, kind = '') {
  const made = make('button', text, kind);
  made.type = 'button';
  made.onclick = act;
  return made;
}
const say = text => { $('state').textContent = text; };
const refuse = text => { $('refused').textContent = text; };
const number = v => v.toFixed(2).replace('-', '−');

// Put a text where it can be pasted, also where the page has no right to the clipboard
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = make('textarea', text, 'unseen');
    document.body.append(box);
    box.select();
    document.execCommand('copy');
    box.remove();
  }
  say('Copied.');
}

function download(name, text) {
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// What the server says of a text that it wrote
function writtenCard(entry, answer, open) {
  const {title, content, method, composed_by: author} = answer.text_generation_result, {chosen} = answer;
  const facts = [`${entry.number}: at ${number(entry.x)}, ${number(entry.y)}`, `${method} (${author})`];
  if (chosen.cosine !== null) facts.push(`cosine ${number(chosen.cosine)}`);
  if (chosen.map_distance !== null) facts.push(`lands ${number(chosen.map_distance)} away`);
  const near = answer.nearest_documents.map(d =>
    push(`${d.title || d.id} (cosine ${number(d.cosine)}, ${number(d.map_distance)} away)`, () => open(d.id), 'near'));
  const more = make('details', '', '', make('summary', `${near.length} nearest documents`), ...near);
  if (content) more.append(make('p', content, 'about'));
  const buttons = make('p', '', '', push('Copy', () => copy(title)), ' ', push('Show', () => open(null, entry)));
  const notes = answer.notes.map(note => make('p', note, 'about'));
  return [make('p', title, 'text'), make('p', facts.join(' · '), 'about'), ...notes, buttons, more];
}
