import { ParlanceClient, unwrap } from "@parlance/client/rest";
import Talk from "./talk";

// A page of a server reads public courses at each request, without a login.
export const dynamic = "force-dynamic";

export default async function Home() {
  const client = new ParlanceClient({ url: process.env["API_URL"] ?? "http://localhost:5503", platform: "web", deviceId: "server" });
  const { items } = unwrap(await client.rest.GET("/courses", { params: { query: { limit: 10 } } }));
  return (
    <main>
      <ul>
        {items.map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
      <Talk />
    </main>
  );
}
