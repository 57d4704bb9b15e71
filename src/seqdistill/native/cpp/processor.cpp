// What this machine's processor can run. Python asks the portable library, before it opens another.
#include "api.h"
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace {

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

// What the processor says of itself; all zeros where it does not know the question.
Registers ask(unsigned leaf, unsigned part) {
  Registers r;
  if (!__get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d)) return {};
  return r;
}

bool has(unsigned value, unsigned bits) { return (value & bits) == bits; }
constexpr unsigned bit(int number) { return 1u << number; }

const char* runnable() {
  Registers basic = ask(1, 0), more = ask(7, 0), last = more.a >= 1 ? ask(7, 1) : Registers{};
  // x86-64-v3: FMA, MOVBE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2. All processors that have these have LZCNT.
  if (!has(basic.c, bit(12) | bit(22) | bit(27) | bit(28) | bit(29))) return "portable";
  if (!has(more.b, bit(3) | bit(5) | bit(8))) return "portable";
  // What the operating system saves at a change of threads: registers of 256 bits, and of 512 with their masks.
  unsigned saved, upper;
  __asm__ volatile("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  if (!has(saved, 0x06)) return "portable";
  // x86-64-v4: AVX-512 F, DQ, CD, BW, VL; then VNNI.
  bool wide = has(saved, 0xe6) && has(more.b, bit(16) | bit(17) | bit(28) | bit(30) | bit(31)) && has(more.c, bit(11));
  bool vnni = has(last.a, bit(4));
  if (wide) return vnni ? "avx512vnni,avxvnni,avx2,portable" : "avx512vnni,avx2,portable";
  return vnni ? "avxvnni,avx2,portable" : "avx2,portable";
}

#elif defined(__aarch64__)

const char* runnable() {
#if defined(__linux__)
  constexpr unsigned long DOT_PRODUCT = 1ul << 20;  // HWCAP_ASIMDDP
  return getauxval(AT_HWCAP) & DOT_PRODUCT ? "dotprod,portable" : "portable";
#else
  return "dotprod,portable";  // every processor that macOS runs on
#endif
}

#else

const char* runnable() { return "portable"; }

#endif

}  // namespace

const char* sd_runnable(void) { return runnable(); }
