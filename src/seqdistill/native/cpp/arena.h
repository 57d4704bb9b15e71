// Scratch memory of a call: a bump allocator that keeps its blocks from call to call.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace sd {

// Memory is taken from the front of a block and given back by a mark, never piece by piece:
//
//   Arena::Mark before = arena.mark();
//   float* logits = arena.array<float>(rows * vocab);   // 64-byte aligned, not initialised
//   arena.release(before);                              // logits and all that was taken after it
//
// An arena belongs to one thread at a time. When the system has no more memory, `array` jumps to `out_of_memory`, which
// the C interface sets with setjmp before anything else (nothing of ours has a destructor that a jump could skip).
// Under the address sanitizer every array is a block of its own, so that reading past its end is seen.
class Arena {
  struct Block {
    Block* next;
    size_t size, used;  // bytes after this header
  };
  static constexpr size_t LINE = 64, FIRST = 1 << 18, KEPT = 32 << 20;
  static_assert(sizeof(Block) <= LINE, "a header is one cache line");

 public:
  struct Mark {
    Block* block;
    size_t used;
  };

  jmp_buf out_of_memory;

  Mark mark() const { return {current, current ? current->used : 0}; }

  void release(Mark mark) {
    current = mark.block;
    if (current) current->used = mark.used;
#if defined(__SANITIZE_ADDRESS__)
    free_after(current);
#endif
  }

  template <class T>
  T* array(size_t count) {
    if (count > SIZE_MAX / 2 / sizeof(T)) longjmp(out_of_memory, 1);
    return static_cast<T*>(take(count * sizeof(T)));
  }

  template <class T>
  T* zeros(size_t count) {
    T* values = array<T>(count);
    memset(static_cast<void*>(values), 0, count * sizeof(T));
    return values;
  }

  // Gives blocks that nothing is taken from back to the system, but for the first KEPT bytes: one very long sentence
  // does not hold its memory for the life of the arena, and usual calls find theirs from the last one.
  void trim() {
    size_t kept = 0;
    bool taken = current;
    Block* last = nullptr;
    for (Block* block = first; block && (taken || kept + block->size <= KEPT); block = block->next) {
      kept += block->size;
      last = block;
      if (block == current) taken = false;
    }
    free_after(last);
  }

  // Gives all memory back to the system; nothing taken from the arena may be used any more.
  void free_all() { free_after(current = nullptr); }

 private:
  Block* first = nullptr;
  Block* current = nullptr;  // nullptr: nothing is taken

  void* take(size_t bytes) {
    bytes = (bytes + LINE - 1) / LINE * LINE;
#if defined(__SANITIZE_ADDRESS__)
    current = new_block(bytes, current);
#else
    if (!current || current->size - current->used < bytes) {
      Block* next = current ? current->next : first;
      while (next && next->size < bytes) next = next->next;
      current = next ? next : new_block(bytes, current);
      current->used = 0;
    }
#endif
    void* taken = reinterpret_cast<char*>(current) + LINE + current->used;
    current->used += bytes;
    return taken;
  }

  Block* new_block(size_t bytes, Block* before) {
    size_t size = bytes;
#if !defined(__SANITIZE_ADDRESS__)
    size_t least = before ? 2 * before->size : FIRST;
    size = bytes < least ? least : bytes;
#endif
    void* memory = nullptr;
    if (posix_memalign(&memory, LINE, LINE + size)) longjmp(out_of_memory, 1);
    Block*& link = before ? before->next : first;
    Block* block = static_cast<Block*>(memory);
    *block = {link, size, 0};
    return link = block;
  }

  void free_after(Block* block) {
    Block*& link = block ? block->next : first;
    while (link) {
      Block* next = link->next;
      free(link);
      link = next;
    }
  }
};

}  // namespace sd
