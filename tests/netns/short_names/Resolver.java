import java.net.InetAddress;

/** Resolves a name as Java does it and prints its addresses. */
class Resolver {
    public static void main(String[] names) throws Exception {
        try {
            for (InetAddress address : InetAddress.getAllByName(names[0])) {
                System.out.println(address.getHostAddress());
            }
        } catch (java.net.UnknownHostException error) {
            System.out.println("error " + error);
        }
    }
}
