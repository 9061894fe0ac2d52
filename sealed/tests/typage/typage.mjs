// Opens and makes age files with an implementation that shares no code with ours.
//   node typage.mjs decrypt IDENTITY < FILE > PLAINTEXT
//   node typage.mjs encrypt RECIPIENT < PLAINTEXT > FILE
//   node typage.mjs keygen                              prints an identity and its recipient
import { readFileSync, writeFileSync } from "node:fs";
import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient } from "age-encryption";

const [, , verb, key] = process.argv;
if (verb === "keygen") {
  const identity = await generateHybridIdentity();
  console.log(identity);
  console.log(await identityToRecipient(identity));
} else if (verb === "decrypt") {
  const decrypter = new Decrypter();
  decrypter.addIdentity(key);
  writeFileSync(1, await decrypter.decrypt(readFileSync(0)));
} else {
  const encrypter = new Encrypter();
  encrypter.addRecipient(key);
  writeFileSync(1, await encrypter.encrypt(readFileSync(0)));
}
