import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.util.concurrent.Executors;

/**
 * A service that calls another one for each request and passes nothing on, with a pool of threads: {@code Calls BACKEND
 * THREADS}. {@code /new/TAG} calls on a connection of its own, {@code /kept/TAG} on one of the client's pool, which threads
 * share. The answer is the backend's.
 */
public class Calls {
    public static void main(String[] args) throws IOException {
        String backend = args[0];
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 512);
        server.setExecutor(Executors.newFixedThreadPool(Integer.parseInt(args[1])));
        server.createContext("/", exchange -> answer(exchange, backend));
        server.start();
    }

    private static void answer(HttpExchange exchange, String backend) throws IOException {
        String[] parts = exchange.getRequestURI().getPath().split("/", 3);
        byte[] body = call(backend, parts[2], parts[1].equals("kept"));
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    private static byte[] call(String backend, String tag, boolean keep) throws IOException {
        HttpURLConnection connection =
            (HttpURLConnection) URI.create("http://" + backend + "/" + tag).toURL().openConnection();
        if (!keep) {
            connection.setRequestProperty("Connection", "close");
        }
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }
}
