// Java's HttpClient as it is by default: it offers HTTP/2 with each request in the clear (Upgrade: h2c), and a body
// from a stream has no length.
//
//	java Client
//
// Environment: CSRD_URL (with /client/v4), CSRD_TOKEN, CSRD_ACCOUNT, CSRD_BODY (the create, as JSON).
// CSRD_TOO_LARGE is how many bytes are more than csrd takes.
// Waits for a line on standard input before it deletes.
// Prints one line for each answer: the step's name, status, Content-Type, and the body in base64.
// What is right is decided by tests/system/clients.py.
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Client {
	static final String TOKEN = System.getenv("CSRD_TOKEN");
	static final String BODY = System.getenv("CSRD_BODY");
	static final String COLLECTION =
	    System.getenv("CSRD_URL") + "/accounts/" + System.getenv("CSRD_ACCOUNT") + "/custom_csrs";
	static final String JSON = "application/json";
	static final HttpClient http = HttpClient.newHttpClient();

	static String step(String name, String method, String url, String token, String type, String text)
	    throws Exception {
		BodyPublisher body = BodyPublishers.noBody();
		HttpRequest.Builder request =
		    HttpRequest.newBuilder(URI.create(url)).header("Authorization", "Bearer " + token);

		if (text != null) {
			byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
			body = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes));
			request.header("Content-Type", type);
		}
		HttpResponse<byte[]> response =
		    http.send(request.method(method, body).build(), HttpResponse.BodyHandlers.ofByteArray());
		System.out.println(name + " " + response.statusCode() + " " +
		                   response.headers().firstValue("Content-Type").orElse("none") + " " +
		                   Base64.getEncoder().encodeToString(response.body()));
		return new String(response.body(), StandardCharsets.UTF_8);
	}

	public static void main(String[] arguments) throws Exception {
		Matcher id = Pattern.compile("\"id\":\"([0-9a-f-]{36})\"")
		                 .matcher(step("create", "POST", COLLECTION, TOKEN, JSON, BODY));

		step("list", "GET", COLLECTION, TOKEN, null, null);
		step("bad-json", "POST", COLLECTION, TOKEN, JSON, "{\"country\": \"SE\"");
		step("bad-token", "POST", COLLECTION, "csrd_nobody", JSON, BODY);
		step("bad-type", "POST", COLLECTION, TOKEN, "text/plain", BODY);
		step("too-large", "POST", COLLECTION, TOKEN, JSON,
		     BODY + " ".repeat(Integer.parseInt(System.getenv("CSRD_TOO_LARGE"))));
		System.in.read();
		step("delete", "DELETE", COLLECTION + "/" + (id.find() ? id.group(1) : "none"), TOKEN, null, null);
	}
}
