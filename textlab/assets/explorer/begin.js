// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

const own = document.getElementById('data');
explore(own ? fromFile(JSON.parse(own.textContent)) : fromServer);
