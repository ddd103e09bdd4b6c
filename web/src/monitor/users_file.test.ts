import { expect, it } from 'vitest';

import { readUsersFile } from './users_file.ts';

const bytes = (...of: number[]) => new Uint8Array(of).buffer;
const utf8 = (text: string) => new TextEncoder().encode(text).buffer as ArrayBuffer;

it('reads UTF-8, with or without its mark, and counts the lines', () => {
  const content = 'code,user,name\r\n1,李雷,\r\n\r\n';
  const read = { name: 'a.csv', content, encoding: 'UTF-8', lines: 2 };
  expect(readUsersFile('a.csv', utf8(content))).toEqual(read);
  expect(readUsersFile('a.csv', utf8(`\ufeff${content}`))).toEqual(read);
});

it('reads what a Chinese spreadsheet saves', () => {
  const file = readUsersFile('a.csv', bytes(0x31, 0x2c, 0xc0, 0xee, 0xc0, 0xd7));
  expect(file).toMatchObject({ content: '1,李雷', encoding: 'GB18030', lines: 1 });
});

it('refuses what it would garble', () => {
  expect(readUsersFile('a.csv', bytes(0xff, 0xfe, 0x31, 0x00))).toBeNull();
});
