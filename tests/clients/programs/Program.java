import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.parlance.client.ApiClient;
import org.parlance.client.ApiException;
import org.parlance.client.api.AuthApi;
import org.parlance.client.api.CallsApi;
import org.parlance.client.api.CoursesApi;
import org.parlance.client.api.MyApi;
import org.parlance.client.api.UsersApi;
import org.parlance.client.model.AuthTokens;
import org.parlance.client.model.MeUpdate;
import org.parlance.client.model.PlatformInput;
import org.parlance.client.model.Problem;
import org.parlance.client.model.RefreshRequest;
import org.parlance.client.model.RegisterRequest;

/** Program of the generated Java client: `job URL ADDRESS COURSE NAME` or `decode FILE`; prints JSON. */
public class Program {
  private static final ObjectMapper MAPPER = ApiClient.createDefaultObjectMapper();
  private static String token = "";

  interface Call {
    void send() throws ApiException;
  }

  private static List<Object> refusal(Call call) throws Exception {
    try {
      call.send();
    } catch (ApiException refused) {
      return List.of(refused.getCode(), MAPPER.readValue(refused.getResponseBody(), Problem.class).getCode());
    }
    throw new AssertionError("it was not refused");
  }

  private static Map<String, Object> job(String url, String address, String courseId, String name) throws Exception {
    UUID course = UUID.fromString(courseId);
    ApiClient client = new ApiClient();
    client.updateBaseUri(url);
    client.setRequestInterceptor(request -> {
      request.header("X-Forwarded-For", address);
      if (!token.isEmpty()) {
        request.header("Authorization", "Bearer " + token);
      }
    });
    AuthApi auth = new AuthApi(client);
    UsersApi users = new UsersApi(client);
    CoursesApi courses = new CoursesApi(client);
    RegisterRequest account = new RegisterRequest()
        .email(name + "@example.com").password("correct horse battery").deviceId(name).platform(PlatformInput.IOS);
    AuthTokens tokens = auth.register(account);
    token = tokens.getAccessToken();
    var before = users.getMe();
    var setUp = users.updateMe(new MeUpdate().displayName("Ada").bio("Hello"));
    var cleared = users.updateMe(new MeUpdate().bio(null));
    Map<String, Object> seen = new LinkedHashMap<>();
    seen.put("bio", Arrays.asList(before.getBio(), setUp.getBio(), cleared.getBio()));
    seen.put("displayName", List.of(setUp.getDisplayName(), cleared.getDisplayName()));
    seen.put("course", courses.listCourses(100, null).getItems().stream().anyMatch(each -> each.getId().equals(course)));
    seen.put("enrolled", courses.enroll(course, null).getIsEnrolled());
    seen.put("myCourses", new MyApi(client).listMyCourses(null, null).getItems().stream()
        .map(each -> each.getCourse().getId()).toList());
    var page = new CallsApi(client).listCalls(20, null);
    seen.put("calls", Arrays.asList(page.getItems().size(), page.getNextCursor()));
    seen.put("refused", refusal(() -> auth.register(account)));
    auth.logout();
    RefreshRequest refresh = new RefreshRequest().refreshToken(tokens.getRefreshToken());
    seen.put("loggedOut", refusal(() -> auth.refreshTokens(null, refresh)));
    return seen;
  }

  private static Map<String, Object> decode(String file) throws Exception {
    Map<String, Object> encoded = new LinkedHashMap<>();
    for (var answer : MAPPER.readTree(Path.of(file).toFile()).properties()) {
      Class<?> model = Class.forName("org.parlance.client.model." + answer.getKey());
      JsonNode json = answer.getValue();
      encoded.put(answer.getKey(), MAPPER.writeValueAsString(MAPPER.treeToValue(json, model)));
    }
    return encoded;
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, Object> seen = arguments[0].equals("job")
        ? job(arguments[1], arguments[2], arguments[3], arguments[4])
        : decode(arguments[1]);
    System.out.println(MAPPER.writeValueAsString(seen));
  }
}
