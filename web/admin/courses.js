// Courses: list, editing, lessons and video uploads.

import * as api from "./api.js";
import { act, finish, heading, list } from "./pages.js";
import { ask, badge, digits, field, h, money, number, say, select, table } from "./dom.js";

const LEVELS = ["beginner", "intermediate", "advanced"].map((each) => [each, each]);
/** Milliseconds between two reads of a video that is being transcoded. */
const LOOK_AGAIN = 1500;
const VIDEO = { ready: "good", processing: "warn", failed: "bad" };

const cost = (course) => (course.price ? money(course.price, course.currency) : "free");
const published = (course) => badge(course.isPublished ? "published" : "draft", course.isPublished ? "good" : "");

/** Ask for the fields of a course, and send them; return whether they were accepted. */
function askCourse(title, course, action, send) {
  const currency = course?.currency ?? "usd";
  return ask(
    title,
    [
      field("Title", h("input", { name: "title", required: true, maxlength: 200, value: course?.title })),
      field("Description", h("textarea", { name: "description", maxlength: 10000, rows: 4 }, course?.description ?? "")),
      field("Level", select({ name: "level" }, LEVELS, course?.level ?? "intermediate")),
      field("Currency", h("input", { name: "currency", required: true, pattern: "[A-Za-z]{3}", value: currency })),
      field("Price, 0 for free", h("input", { name: "price", type: "number", min: 0, step: "any", required: true, inputmode: "decimal", value: course ? course.price / 10 ** digits(currency) : 0 })),
    ],
    action,
    "primary",
    (answer) => send({ ...answer, currency: answer.currency.toLowerCase(), price: Math.round(Number(answer.price) * 10 ** digits(answer.currency)) }),
  );
}

export async function courses(which, again) {
  const found = await list(
    (cursor) => api.courses({ limit: 25, cursor }),
    (rows) =>
      table(
        "Courses",
        [
          ["Course", (row) => h("a", { href: `#/courses/${row.id}` }, row.title)],
          ["Level", (row) => row.level],
          ["Price", cost],
          ["Status", published],
        ],
        rows,
      ),
  );
  const make = async () => {
    let made;
    const isMade = await askCourse("A new course", null, "Create", async (draft) => (made = await api.makeCourse(draft)));
    if (isMade) location.hash = `#/courses/${made.id}`;
  };
  return [heading("Courses", h("button", { class: "primary", onclick: make }, "New course")), found];
}

export async function course(id, again) {
  const [found, lessons] = await Promise.all([api.course(id), api.lessons(id)]);
  const change = async () => {
    if (await askCourse("Change the course", found, "Save", (entered) => api.changeCourse(id, entered))) finish("The course is changed.", again);
  };
  const publish = () =>
    act(() => api.changeCourse(id, { isPublished: !found.isPublished }), found.isPublished ? "The course is no longer for sale; enrolled learners keep it." : "The course is published.", again);
  const remove = async () => {
    const sure = await ask(`Delete ${found.title}?`, [h("p", null, "Its lessons, files and videos are deleted too.")], "Delete");
    if (sure) await act(async () => { await api.removeCourse(id); location.hash = "#/courses"; }, "The course is deleted.", () => {});
  };
  const addLesson = async () => {
    if (await askLesson("A new lesson", null, "Add", (entered) => api.addLesson(id, entered))) finish("The lesson is added.", again);
  };
  const picture = h("input", {
    type: "file",
    accept: "image/jpeg,image/png,image/webp",
    onchange: (event) => act(() => api.setThumbnail(id, event.target.files[0]), "The picture is changed.", again),
  });
  return [
    heading(found.title, published(found)),
    h(
      "div",
      { class: "row" },
      h("button", { class: "primary", onclick: publish }, found.isPublished ? "Unpublish" : "Publish"),
      h("button", { onclick: change }, "Change"),
      h("button", { class: "danger", onclick: remove }, "Delete"),
    ),
    h(
      "div",
      { class: "card" },
      h("p", null, `${found.level}, ${cost(found)}`),
      h("p", null, found.description || "It has no description."),
      // No picture: it is on the storage's host, from which the page's Content-Security-Policy loads nothing.
      found.thumbnailUrl ? h("p", null, h("a", { href: found.thumbnailUrl, target: "_blank", rel: "noreferrer" }, "View the picture")) : null,
      field("Picture", picture),
    ),
    h("div", { class: "row" }, h("h2", null, "Lessons"), h("button", { onclick: addLesson }, "Add a lesson")),
    lessonTable(id, lessons.items, again),
  ];
}

function askLesson(title, lesson, action, send) {
  return ask(
    title,
    [
      field("Title", h("input", { name: "title", required: true, maxlength: 200, value: lesson?.title })),
      field("Description", h("textarea", { name: "description", maxlength: 10000, rows: 3 }, lesson?.description ?? "")),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "isFree", checked: lesson?.isFree }), h("span", null, "Free to try, without enrollment")),
    ],
    action,
    "primary",
    (answer) => send({ ...answer, isFree: Boolean(answer.isFree) }),
  );
}

function lessonTable(courseId, rows, again) {
  const move = (index, by) => {
    const ids = rows.map((row) => row.id);
    ids.splice(index + by, 0, ...ids.splice(index, 1));
    return act(() => api.orderLessons(courseId, ids), "The lessons are reordered.", again);
  };
  const change = async (row) => {
    if (await askLesson("Change the lesson", row, "Save", (entered) => api.changeLesson(row.id, entered))) finish("The lesson is changed.", again);
  };
  const remove = async (row) => {
    const sure = await ask(`Delete ${row.title}?`, [h("p", null, "Its files and its video are deleted too.")], "Delete");
    if (sure) await act(() => api.removeLesson(row.id), "The lesson is deleted.", again);
  };
  return table(
    "Lessons",
    [
      ["No.", (row) => String(row.orderIndex + 1)],
      ["Lesson", (row) => [row.title, " ", row.isFree ? badge("free to try", "good") : null]],
      ["Video", video],
      [
        "",
        (row) =>
          h(
            "div",
            { class: "row" },
            h("button", { "aria-label": `Move ${row.title} up`, disabled: row === rows[0], onclick: () => move(rows.indexOf(row), -1) }, "↑"),
            h("button", { "aria-label": `Move ${row.title} down`, disabled: row === rows.at(-1), onclick: () => move(rows.indexOf(row), 1) }, "↓"),
            h("button", { onclick: () => change(row) }, "Change"),
            h("button", { class: "danger", onclick: () => remove(row) }, "Delete"),
          ),
      ],
    ],
    rows,
  );
}

/** A lesson's video: its state, read again while shown, and the upload of another file. */
function video(lesson) {
  const place = h("div", { class: "video" });
  const bar = (label, value) => h("label", null, h("span", null, `${label}, ${value} %`), h("progress", { max: 100, value }));
  function draw(now) {
    const length = now.durationSeconds === null ? null : `${number(now.durationSeconds)} s`;
    place.replaceChildren(
      ...[
        badge(now.videoStatus === "none" ? "no video" : now.videoStatus, VIDEO[now.videoStatus]),
        now.videoStatus === "processing" ? bar("transcoding", now.videoProgress) : null,
        now.videoStatus === "failed" ? h("p", { role: "alert" }, now.videoError) : null,
        now.isPlayable && length ? h("small", null, ` ${length}`) : null,
        now.videoStatus === "processing" ? null : field(`Video for ${now.title}`, h("input", { type: "file", accept: "video/*,.mkv", onchange: send })),
      ].filter(Boolean),
    );
    if (now.videoStatus === "processing") setTimeout(look, LOOK_AGAIN);
  }
  async function look() {
    if (!place.isConnected) return;
    try {
      draw(await api.lesson(lesson.id));
    } catch (problem) {
      say(problem.message);
      setTimeout(look, 2 * LOOK_AGAIN);
    }
  }
  async function send(event) {
    const [file] = event.target.files;
    if (!file) return;
    const sent = (bytes) => place.replaceChildren(bar("sent", Math.floor((100 * bytes) / file.size)));
    sent(0);
    try {
      await api.uploadVideo(lesson.id, file, sent);
      say(`The video for ${lesson.title} is sent.`);
    } catch (problem) {
      say(problem.message);
    }
    await look();
  }
  draw(lesson);
  return place;
}
