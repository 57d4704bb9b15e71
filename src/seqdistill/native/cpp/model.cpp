#include "model.h"

namespace sd {
namespace {

const Family* const FAMILIES[] = {&TRANSFORMER, &MIXTURE, &HYBRID, &RNN, &NAT, &INAT, &CMLM, &INST, &LEVT};

constexpr int LONGEST_NAME = 192;

bool equal(const char* a, const char* b) { return strcmp(a, b) == 0; }

// The value of a setting, which ends at the end of its line; nullptr if there is no such line.
const char* value_of(const char* settings, const char* key) {
  size_t size = strlen(key);
  for (const char* line = settings; *line;) {
    if (strncmp(line, key, size) == 0 && line[size] == '=') return line + size + 1;
    const char* end = strchr(line, '\n');
    if (!end) break;
    line = end + 1;
  }
  return nullptr;
}

// The whole number at `text`, moved behind it; false if there is none.
bool read_number(const char*& text, long& value) {
  char* end;
  value = strtol(text, &end, 10);
  if (end == text) return false;
  text = end;
  return true;
}

bool at_end(char c) { return c == '\0' || c == '\n'; }

}  // namespace

Parts::Parts(Arena& arena, Failure& failure, const char* settings, const SdTensor* tensors, int count)
    : arena(arena), failure(failure), settings(settings), tensors(tensors), count(count), prefix{} {
  const char* const names[] = {"int8", "bfloat16", "float32"};
  precision = choice("precision", names, 3);
}

Parts Parts::in(const char* name) const {
  Parts inner = *this;
  size_t used = strlen(prefix);
  int size = snprintf(inner.prefix + used, sizeof prefix - used, "%s.", name);
  if (size_t(size) >= sizeof prefix - used) failure.refuse("%s%s: longer than a name can be", prefix, name);
  return inner;
}

Parts Parts::in(const char* name, int number) const {
  char numbered[LONGEST_NAME];
  snprintf(numbered, sizeof numbered, "%s.%d", name, number);
  return in(numbered);
}

const SdTensor* Parts::find(const char* name) const {
  size_t size = strlen(prefix);
  for (int i = 0; i < count; ++i)
    if (strncmp(tensors[i].name, prefix, size) == 0 && equal(tensors[i].name + size, name)) return &tensors[i];
  return nullptr;
}

const SdTensor& Parts::found(const char* name, int kind, int rows, int columns) const {
  const SdTensor* tensor = find(name);
  if (!tensor) failure.refuse("tensor %s%s is missing", prefix, name);
  if (tensor->kind != kind)
    failure.refuse("tensor %s%s is a %s, expected a %s", prefix, name, tensor->kind ? "matrix" : "vector",
                   kind ? "matrix" : "vector");
  if (tensor->rows != rows || tensor->columns != columns)
    failure.refuse("tensor %s%s is %d x %d, expected %d x %d", prefix, name, tensor->rows, tensor->columns, rows,
                   columns);
  if (!tensor->data || (kind && precision == INT8 && !(tensor->scale && tensor->correction)))
    failure.refuse("tensor %s%s has no data", prefix, name);
  return *tensor;
}

bool Parts::has(const char* tensor) const { return find(tensor); }

const float* Parts::vector(const char* name, int size) const {
  return static_cast<const float*>(found(name, 0, 1, size).data);
}

Linear Parts::matrix(const char* name, int outputs, int inputs) const {
  const SdTensor& tensor = found(name, 1, outputs, inputs);
  return {precision, outputs, inputs, tensor.data, tensor.scale, tensor.correction, nullptr};
}

Linear Parts::linear(const char* name, int outputs, int inputs) const {
  char part[LONGEST_NAME];
  snprintf(part, sizeof part, "%s.weight", name);
  Linear product = matrix(part, outputs, inputs);
  snprintf(part, sizeof part, "%s.bias", name);
  product.bias = vector(part, outputs);
  return product;
}

bool Parts::given(const char* key) const {
  const char* value = value_of(settings, key);
  return value && !at_end(*value);
}

const char* Parts::text(const char* key, char* value, int size) const {
  const char* found = value_of(settings, key);
  if (!found) failure.refuse("setting %s is missing", key);
  int length = 0;
  for (; !at_end(found[length]); ++length)
    if (length == size - 1) failure.refuse("setting %s is too long", key);
  memcpy(value, found, size_t(length));
  value[length] = '\0';
  return value;
}

int Parts::number(const char* key, int least, int most) const {
  const char* text = value_of(settings, key);
  long value;
  if (!text || !read_number(text, value) || !at_end(*text))
    failure.refuse("setting %s is %s", key, text ? "no whole number" : "missing");
  if (value < least || value > most) failure.refuse("setting %s is %ld, expected %d to %d", key, value, least, most);
  return int(value);
}

int Parts::number(const char* key, int least, int most, int absent) const {
  return given(key) ? number(key, least, most) : absent;
}

double Parts::real(const char* key) const {
  const char* text = value_of(settings, key);
  char* end = nullptr;
  double value = text ? strtod(text, &end) : 0;
  if (!text || end == text || !at_end(*end)) failure.refuse("setting %s is %s", key, text ? "no number" : "missing");
  return value;
}

bool Parts::flag(const char* key) const { return number(key, 0, 1); }

int Parts::choice(const char* key, const char* const* names, int count) const {
  char value[32];
  text(key, value, sizeof value);
  for (int i = 0; i < count; ++i)
    if (equal(value, names[i])) return i;
  failure.refuse("setting %s is %s, which this version does not know", key, value);
}

Ids Parts::ids(const char* key, int most) const {
  if (!given(key)) return {nullptr, 0};
  const char* text = value_of(settings, key);
  int commas = 0;
  for (const char* c = text; !at_end(*c); ++c) commas += *c == ',';
  int32_t* values = arena.array<int32_t>(size_t(commas + 1));
  for (int i = 0; i <= commas; ++i, ++text) {
    long value;
    bool ends = read_number(text, value) && (i == commas ? at_end(*text) : *text == ',');
    if (!ends || value < 0 || value > most) failure.refuse("setting %s is no list of ids up to %d", key, most);
    values[i] = int32_t(value);
  }
  return {values, commas + 1};
}

namespace {

constexpr int MOST_WORDS = 10000000;

void read_ids(Model& model, const Parts& parts) {
  int source = model.source_vocab = parts.number("source_vocab", 1, MOST_WORDS);
  int target = model.target_vocab = parts.number("target_vocab", 1, MOST_WORDS);
  SpecialIds& ids = model.ids;
  ids.source_eos = parts.number("source_eos", 0, source - 1);
  ids.eos = parts.number("eos", 0, target - 1);
  // A vocabulary without PAD has an id for it behind the last one: no model reads it, so it may be outside.
  ids.pad = parts.number("pad", -1, MOST_WORDS, -1);
  ids.bos = parts.number("bos", -1, target - 1, -1);
  ids.mask = parts.number("mask", -1, target - 1, -1);
  ids.before_words = parts.ids("before_words", target - 1);
  ids.never_written = parts.ids("never_written", MOST_WORDS);
  ids.no_words = parts.ids("no_words", MOST_WORDS);
  if (!ids.before_words.count) parts.failure.refuse("setting before_words is missing: decoders read at least one id");
  if (ids.never_written.hold(ids.eos)) parts.failure.refuse("setting never_written holds eos: no output would end");
}

}  // namespace

void build(Model& model, const char* settings, const SdTensor* tensors, int count, Failure& failure) {
  Parts parts(model.arena, failure, settings, tensors, count);
  const char* names[sizeof FAMILIES / sizeof *FAMILIES] = {};
  int families = 0;
  for (const Family* family : FAMILIES) names[families++] = family->name;
  model.family = FAMILIES[parts.choice("family", names, families)];
  read_ids(model, parts);
  model.parts = model.family->build(parts, model);
}

}  // namespace sd
