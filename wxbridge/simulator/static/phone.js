"use strict";
const person = document.getElementById("person");
const chat = document.getElementById("chat");
const state = document.getElementById("state");
let shown = -1;

async function play(what, fields = {}) {
  const answer = await fetch(`/_test/${what}`, {
    method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ person: person.value || undefined, ...fields }),
  });
  const body = await answer.json();
  if (body.error) { state.textContent = body.error; return; }
  draw(body);
}

function draw(body) {
  if (!person.options.length) body.people.forEach((name) => person.add(new Option(name)));
  state.textContent = body.state;
  if (body.chat.length === shown) return;
  shown = body.chat.length;
  chat.replaceChildren(...body.chat.map((one, index) => {
    const line = document.createElement("p");
    line.className = one.from_bot ? "" : "mine";
    if (one.picture) {
      const image = document.createElement("img");
      image.src = `/_test/picture?person=${encodeURIComponent(body.person)}&index=${index}`;
      image.alt = "picture";
      line.append(image);
    } else line.textContent = one.text;
    return line;
  }));
  chat.scrollTop = chat.scrollHeight;
}

person.addEventListener("change", () => { shown = -1; play("chat"); });
document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = document.getElementById("text");
  if (text.value) play("say", { text: text.value });
  text.value = "";
});
document.getElementById("scan").addEventListener("click", () => play("scan", { code: document.getElementById("digits").value }));
document.getElementById("confirm").addEventListener("click", () => play("confirm"));
document.getElementById("end").addEventListener("click", () => play("end"));
document.getElementById("expire").addEventListener("click", () => play("expire"));
document.getElementById("picture").addEventListener("click", () => play("picture"));
document.getElementById("restrict").addEventListener("change", (event) => play("restrict", { on: event.target.checked }));
document.getElementById("fault").addEventListener("change", (event) => {
  if (event.target.value) play("fault", JSON.parse(event.target.value));
  event.target.value = "";
});
document.getElementById("day").addEventListener("click", () => play("clock", { seconds: 86400 }));
play("chat");
setInterval(() => play("chat"), 1000);
