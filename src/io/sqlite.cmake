# The rooms' logs in a file.
find_package(SQLite3 REQUIRED)
satsuma_library(io_sqlite SOURCES sqlite_store.cpp DEPENDS base delivery SQLite::SQLite3)
