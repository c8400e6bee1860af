export function findVm():
  | {
      readonly qemu: string;
      readonly arguments: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly kernel: string;
      readonly initrd: string;
      /** Folder with BlueZ's programs. */
      readonly tools: string;
    }
  | { readonly missing: string };
