// How the engine refuses what it is given: a message, and a jump to the entry of the C interface.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

namespace sd {

struct Failure {
  jmp_buf place;
  char* message;
  int size;

  // Nothing of ours has a destructor, so a jump skips nothing.
  [[noreturn]] __attribute__((format(printf, 2, 3))) void refuse(const char* format, ...) {
    va_list values;
    va_start(values, format);
    if (message && size > 0) vsnprintf(message, size_t(size), format, values);
    va_end(values);
    longjmp(place, 1);
  }
};

}  // namespace sd
