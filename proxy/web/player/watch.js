// Plays /watch/{id}#token: natively where the browser speaks HLS, with hls.js where it does not,
// and says in a sentence why it does not play when it does not.
"use strict";

const video = document.getElementById("video");
const message = document.getElementById("message");
const id = location.pathname.split("/").pop();
const token = location.hash.slice(1).replace(/^token=/, "");
const source = `/play/${encodeURIComponent(id)}.m3u8?token=${encodeURIComponent(token)}`;

document.documentElement.classList.toggle("framed", window !== window.top);

const say = (sentence, note = "") => {
  message.textContent = sentence;
  if (note) {
    const small = document.createElement("small");
    small.textContent = note;
    message.append(small);
  }
  message.hidden = false;
  // The poster stays behind the sentence; the spinner and the buttons have nothing to do any more.
  video.controls = false;
  video.autoplay = false;
  video.removeAttribute("src");
  video.load();
};

// Players keep the reason of a failure to themselves, so ask the edge once more: a refusal is
// JSON that anybody may read, a redirect is not.
const explain = async () => {
  say("It does not play. Asking why …");
  try {
    const answer = await fetch(source, { redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.ok) {
      say("The stream was found, but its server did not let it play.",
        "The address is locked to the viewer it was made for. Does this browser reach the stream from the same address?");
      return;
    }
    const problem = await answer.json();
    say(problem.detail ?? "The server does not let it play.", `${problem.reason} · request ${problem.request_id}`);
  } catch {
    say("The server cannot be reached.");
  }
};

// The title, the poster and the badge; it plays without them where the platform does not tell.
const describe = async () => {
  const answer = await fetch(`/watch/${encodeURIComponent(id)}/details`, {
    headers: { Authorization: `Bearer ${token}` },
  });
  if (!answer.ok) return;
  const { title, poster, live } = await answer.json();
  if (title) {
    document.title = title;
    document.getElementById("title").textContent = title;
  }
  if (poster) video.poster = poster;
  document.getElementById("live").hidden = !live;
};

const play = () => {
  if (!token) {
    say("This page needs a token behind the # of its address.", "token-missing");
  } else if (video.canPlayType("application/vnd.apple.mpegurl") && !location.search.includes("hls.js")) {
    video.addEventListener("error", explain, { once: true });
    video.src = source;
  } else if (window.Hls?.isSupported()) {
    const hls = new Hls({ enableWorker: false });
    hls.on(Hls.Events.ERROR, (_event, data) => {
      if (data.fatal) {
        hls.destroy();
        explain();
      }
    });
    hls.loadSource(new URL(source, location).href);
    hls.attachMedia(video);
  } else {
    say("This browser can play no HLS.");
  }
};

addEventListener("hashchange", () => location.reload());
play();
if (token) describe().catch(() => {});
