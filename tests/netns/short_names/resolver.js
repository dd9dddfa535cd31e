// Resolves a name with c-ares, which Node uses for dns.resolve*, following the search list as its users have to.
const dns = require("dns").promises;

(async () => {
  for (const find of [dns.resolve4, dns.resolve6]) {
    try {
      (await find(`${process.argv[2]}.azureuser.svc.cluster.local`)).forEach((address) => console.log(address));
    } catch (error) {
      console.log(`error ${error.code}`);
    }
  }
})();
