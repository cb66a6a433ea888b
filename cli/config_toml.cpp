#include "config_toml.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

/* toml++ asserts that a table header begins with a key before it reports that "[)" does not; with
 * NDEBUG some compilers take the assertion for a promise. Here it is neither. */
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#define TOML_HEADER_ONLY        1
#define TOML_EXCEPTIONS         1
#include <toml++/toml.h>

namespace
{

const char *copy_text(std::string_view text)
{
    char *copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (!copy) {
        throw std::bad_alloc();
    }
    if (!text.empty()) {
        std::memcpy(copy, text.data(), text.size());
    }
    copy[text.size()] = '\0';
    return copy;
}

/* Appends an entry whose strings are already counted as the list's: nothing leaks when a copy
 * fails. */
toml_entry &add_entry(std::vector<toml_entry> &list, std::string_view table, std::string_view key,
    const toml::node &node)
{
    list.push_back(toml_entry{});
    toml_entry &e = list.back();
    e.table = copy_text(table);
    e.key = copy_text(key);
    e.line = static_cast<uint32_t>(node.source().begin.line);
    e.type = TOML_OTHER;
    return e;
}

void add_value(std::vector<toml_entry> &list, std::string_view table, std::string_view key,
    const toml::node &node)
{
    toml_entry &e = add_entry(list, table, key, node);
    if (const auto *text = node.as_string()) {
        e.text = copy_text(text->get());
        e.text_len = text->get().size();
        e.type = TOML_TEXT;
    } else if (const auto *integer = node.as_integer()) {
        e.integer = integer->get();
        e.number = static_cast<double>(integer->get());
        e.type = TOML_INTEGER;
    } else if (const auto *number = node.as_floating_point()) {
        e.number = number->get();
        e.type = TOML_NUMBER;
    } else if (const auto *boolean = node.as_boolean()) {
        e.boolean = boolean->get() ? 1 : 0;
        e.type = TOML_BOOLEAN;
    }
}

void flatten(const toml::table &root, std::vector<toml_entry> &list)
{
    for (auto &&[name, node] : root) {
        const toml::table *table = node.as_table();
        if (!table) {
            add_value(list, "", name.str(), node);
            continue;
        }
        add_entry(list, name.str(), "", node).type = TOML_TABLE;
        for (auto &&[key, value] : *table) {
            add_value(list, name.str(), key.str(), value);
        }
    }
}

/* TOML has no control characters but tabs and line ends; a message of toml++ would repeat them. */
bool refuse_control(std::string_view text, char *message, size_t message_size)
{
    unsigned line = 1;
    size_t begin = 0;
    for (size_t i = 0; i < text.size(); i++) {
        const unsigned char c = static_cast<unsigned char>(text[i]);
        const bool line_end = c == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
        if (c == '\n') {
            line++;
            begin = i + 1;
        } else if ((c < 0x20 && c != '\t' && !line_end) || c == 0x7F) {
            std::snprintf(message, message_size,
                "line %u, column %u: the control character U+%04X is not allowed", line,
                static_cast<unsigned>(i - begin + 1), static_cast<unsigned>(c));
            return true;
        }
    }
    return false;
}

void free_entries(const toml_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        std::free(const_cast<char *>(entries[i].table));
        std::free(const_cast<char *>(entries[i].key));
        std::free(const_cast<char *>(entries[i].text));
    }
}

} // namespace

extern "C" int toml_read(
    const char *text, size_t len, toml_file *out, char *message, size_t message_size)
{
    out->entries = nullptr;
    out->count = 0;
    if (refuse_control(std::string_view(text, len), message, message_size)) {
        return -1;
    }
    std::vector<toml_entry> list;
    try {
        flatten(toml::parse(std::string_view(text, len)), list);
        size_t bytes = list.size() * sizeof(toml_entry);
        out->entries = static_cast<toml_entry *>(std::malloc(bytes ? bytes : 1));
        if (!out->entries) {
            throw std::bad_alloc();
        }
        if (bytes) {
            std::memcpy(out->entries, list.data(), bytes);
        }
        out->count = list.size();
        return 0;
    } catch (const toml::parse_error &error) {
        std::string_view what = error.description();
        std::snprintf(message, message_size, "line %u, column %u: %.*s",
            static_cast<unsigned>(error.source().begin.line),
            static_cast<unsigned>(error.source().begin.column), static_cast<int>(what.size()),
            what.data());
    } catch (const std::exception &error) {
        std::snprintf(message, message_size, "%s", error.what());
    } catch (...) {
        std::snprintf(message, message_size, "unknown error");
    }
    free_entries(list.data(), list.size());
    return -1;
}

extern "C" void toml_free(toml_file *file)
{
    free_entries(file->entries, file->count);
    std::free(file->entries);
    file->entries = nullptr;
    file->count = 0;
}
