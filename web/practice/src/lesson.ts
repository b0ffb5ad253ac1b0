/** A lesson: its text, its files and its video, which resumes at the last position. */
import { ParlanceError, unwrap } from "../../../clients/typescript/src/rest.js";
import type { Attachment, LessonProgress } from "../../../clients/typescript/src/openapi.js";
import { h, place, say, show, onLeave } from "./dom.ts";
import { parlance } from "./session.ts";
import { duration, sentence } from "./words.ts";

/** Watched seconds between two saves of the position. */
const SAVE_INTERVAL_SECONDS = 10;

const STOPPED = new ParlanceError("video_stopped", "The video stopped, since it could not be loaded. Check your network, then play on.");

const size = (bytes: number) => (bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`);
const failed = (reason: unknown) => say(sentence(reason), "alert");

export async function lesson(lessonId: string): Promise<() => void> {
  const one = { params: { path: { lessonId } } };
  const found = unwrap(await parlance.rest.GET("/lessons/{lessonId}", one));
  const { courseId } = found;
  const of = { params: { path: { courseId } } };
  const [course, { items: lessons }, mine, files] = await Promise.all([
    parlance.rest.GET("/courses/{courseId}", of).then(unwrap),
    parlance.rest.GET("/courses/{courseId}/lessons", of).then(unwrap),
    parlance.rest.GET("/my/progress/{courseId}", of).then(unwrap),
    parlance.rest.GET("/lessons/{lessonId}/attachments", one).then(unwrap).catch(closed),
  ]);
  const back = h("p", {}, h("a", { href: `#/courses/${courseId}` }, `← ${course.title}`));
  if (!files) {
    return () => show(found.title, back, h("div", { class: "card" }, h("p", {}, "This lesson opens with its course."), h("a", { class: "button primary", href: `#/courses/${courseId}` }, "See the course")));
  }
  const progress = mine.items.find((each) => each.lessonId === lessonId);
  const next = lessons[lessons.findIndex(({ id }) => id === lessonId) + 1];
  const opensNext = next && (course.isEnrolled || next.isFree);

  return () => {
    const end = h("div", { class: "row", id: "end" });
    const finish = (done: boolean) => {
      end.replaceChildren(
        done ? h("p", { class: "done" }, "✓ Done") : h("button", { class: "primary", click: () => void complete() }, "Mark as done"),
        ...(opensNext ? [h("a", { class: "button", href: `#/lessons/${next.id}` }, `Next: ${next.title}`)] : []),
      );
    };
    const complete = async () => {
      try {
        unwrap(await parlance.rest.POST("/lessons/{lessonId}/complete", one));
        finish(true);
        say("Well done. This lesson is completed.");
      } catch (reason) {
        failed(reason);
      }
    };
    finish(progress?.isCompleted ?? false);
    const [video, stop] = found.isPlayable ? watch(lessonId, found.title, progress, found.durationSeconds, complete) : [];
    show(
      found.title,
      back,
      h(
        "div",
        { class: "card" },
        video,
        !found.isPlayable && !found.description && h("p", { class: "soft" }, "This lesson has no video to play yet. Come back in a little while."),
        Boolean(found.description) && h("p", { class: "text" }, found.description),
        end,
      ),
      files.items.length > 0 && h("section", { class: "card" }, h("h2", {}, "Files"), h("ul", { class: "rows", "aria-label": "Files" }, ...files.items.map(file))),
    );
    if (stop) onLeave(stop);
  };
}

/** Attachments need access to the lesson: `undefined` means that the learner has none. */
function closed(reason: unknown): undefined {
  if (reason instanceof ParlanceError && reason.code === "not_enrolled") return undefined;
  throw reason;
}

function file({ name, sizeBytes, url, expiresAt }: Attachment): HTMLLIElement {
  const fetched = (event: Event) => {
    if (Date.now() < Date.parse(expiresAt)) return;
    event.preventDefault();
    say("This link has expired. Reload the page for a new one.", "alert");
  };
  return h("li", {}, h("a", { href: url, download: name, click: fetched }, name), h("span", { class: "soft" }, size(sizeBytes)));
}

/** The video; its position is saved during playback, on a pause, and when the learner leaves. */
function watch(lessonId: string, title: string, progress: LessonProgress | undefined, length: number | null, ended: () => Promise<void>): [element: HTMLElement, leave: () => void] {
  const one = { params: { path: { lessonId } } };
  const video = h("video", { controls: true, playsinline: true, preload: "metadata", "aria-label": `Video: ${title}` });
  const again = h("button", { hidden: true, click: () => void start(video.currentTime, true) }, "Play on");
  let saved = progress?.watchSeconds ?? 0;
  let stop = () => {};
  let hasLeft = false;
  let isFresh = true;

  const save = async () => {
    const before = saved;
    const watchSeconds = Math.floor(video.currentTime);
    if (watchSeconds <= before) return;
    saved = watchSeconds;
    try {
      // Sent even when the page is closed.
      unwrap(await parlance.rest.PUT("/lessons/{lessonId}/progress", { ...one, body: { watchSeconds }, keepalive: true }));
    } catch (reason) {
      saved = before;
      if (!hasLeft) failed(reason);
    }
  };
  const broke = (reason: unknown) => {
    if (hasLeft) return;
    // A link may expire during a pause; if the video has played, get another one.
    if (!isFresh) return void start(video.currentTime, !video.paused);
    failed(reason);
    again.hidden = false;
  };
  const start = async (at: number, plays: boolean) => {
    stop();
    again.hidden = isFresh = true;
    try {
      const { play } = (await import(place("script").dataset["player"] ?? "")) as typeof import("./player.ts");
      const { url } = unwrap(await parlance.rest.GET("/lessons/{lessonId}/video-url", one));
      if (hasLeft) return;
      // At this page's host, by the name that the browser uses.
      const { pathname, search } = new URL(url);
      stop = play(video, pathname + search, at, () => broke(STOPPED));
      if (plays) await video.play();
    } catch (reason) {
      if (reason instanceof DOMException) return;
      isFresh = true;
      broke(reason);
    }
  };

  video.addEventListener("timeupdate", () => {
    if (!video.paused) isFresh = false;
    if (video.currentTime - saved >= SAVE_INTERVAL_SECONDS) void save();
  });
  video.addEventListener("pause", () => void save());
  video.addEventListener("ended", () => void save().then(ended));
  const hidden = () => {
    if (document.visibilityState === "hidden") void save();
  };
  document.addEventListener("visibilitychange", hidden);
  const leave = () => {
    void save();
    hasLeft = true;
    document.removeEventListener("visibilitychange", hidden);
    stop();
  };
  const from = length !== null && saved < length - 1 ? saved : 0;
  void start(from, false);
  return [h("div", { class: "video" }, video, again, from > 0 && h("p", { class: "soft" }, `Resumes at ${duration(from)}.`)), leave];
}
