/** A file of users as text: what a spreadsheet saved need not be UTF-8. */

export interface UsersFile {
  name: string;
  content: string;
  encoding: string;
  /** Lines that say something, a heading included. */
  lines: number;
}

/** The first that fits; each refuses bytes that it does not know, so that no name is garbled. */
const ENCODINGS = ['UTF-8', 'GB18030'];

/** Null when the file is in no encoding that is known. */
export function readUsersFile(name: string, bytes: ArrayBuffer): UsersFile | null {
  for (const encoding of ENCODINGS) {
    try {
      const content = new TextDecoder(encoding, { fatal: true }).decode(bytes);
      const lines = content.split('\n').filter((line) => line.trim() !== '').length;
      return { name, content, encoding, lines };
    } catch {
      // The next one may fit.
    }
  }
  return null;
}
