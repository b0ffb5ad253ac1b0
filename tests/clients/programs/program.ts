// Program of the generated TypeScript client: `job URL ADDRESS COURSE NAME` or `decode FILE`; prints JSON.
import { readFileSync } from "node:fs";
import * as parlance from "./client/index.js";

async function refusal(call: () => Promise<unknown>): Promise<[number, string]> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof parlance.ResponseError)) throw error;
    const problem = parlance.ProblemFromJSON(await error.response.json());
    return [error.response.status, problem.code];
  }
  throw new Error("it was not refused");
}

async function job(url: string, address: string, course: string, name: string): Promise<object> {
  let token = "";
  const headers = { "X-Forwarded-For": address };
  const configuration = new parlance.Configuration({ basePath: url, accessToken: () => token, headers });
  const auth = new parlance.AuthApi(configuration);
  const users = new parlance.UsersApi(configuration);
  const courses = new parlance.CoursesApi(configuration);
  const registerRequest: parlance.RegisterRequest = {
    email: `${name}@example.com`,
    password: "correct horse battery",
    deviceId: name,
    platform: "ios",
  };
  const { accessToken, refreshToken } = await auth.register({ registerRequest });
  token = accessToken;
  const before = await users.getMe();
  const setUp = await users.updateMe({ meUpdate: { displayName: "Ada", bio: "Hello" } });
  const cleared = await users.updateMe({ meUpdate: { bio: null } });
  const listed = (await courses.listCourses({ limit: 100 })).items.map(({ id }) => id);
  const enrollment = await courses.enroll({ courseId: course });
  const mine = await new parlance.MyApi(configuration).listMyCourses();
  const page = await new parlance.CallsApi(configuration).listCalls({ limit: 20 });
  const refused = await refusal(() => auth.register({ registerRequest }));
  await auth.logout();
  return {
    bio: [before.bio, setUp.bio, cleared.bio],
    displayName: [setUp.displayName, cleared.displayName],
    course: listed.includes(course),
    enrolled: enrollment.isEnrolled,
    myCourses: mine.items.map((each) => each.course.id),
    calls: [page.items.length, page.nextCursor],
    refused,
    loggedOut: await refusal(() => auth.refreshTokens({ refreshRequest: { refreshToken } })),
  };
}

function decode(file: string): object {
  const functions = parlance as unknown as Record<string, (value: unknown) => unknown>;
  const answers = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  const encoded = Object.entries(answers).map(([name, answer]) => {
    const decoded = functions[`${name}FromJSON`]!(answer);
    return [name, JSON.stringify(functions[`${name}ToJSON`]!(decoded))] as const;
  });
  return Object.fromEntries(encoded);
}

const [mode, ...rest] = process.argv.slice(2) as [string, string, string, string, string];
console.log(JSON.stringify(mode === "job" ? await job(...rest) : decode(rest[0])));
