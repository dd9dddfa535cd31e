// Java's HttpClient as it is by default, which offers HTTP/2 by Upgrade (h2c): `OUT URL SPACE...`.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;

public class Client {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int n = 0; n + 2 < args.length; n++) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(args[1])).timeout(Duration.ofSeconds(20));
            if (!args[n + 2].equals("-")) {
                request.header("azds-route-as", args[n + 2]);
            }
            var answer = client.send(request.build(), BodyHandlers.ofFile(Path.of(args[0] + "." + n)));
            String space = answer.headers().firstValue("X-Space").orElse("");
            String route = answer.headers().firstValue("X-Route").orElse("");
            System.out.println(answer.statusCode() + " " + space + " " + route);
        }
    }
}
