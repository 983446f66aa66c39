satsuma_test(io_sqlite_test SOURCES sqlite_store_test.cpp DEPENDS io_sqlite)
target_include_directories(io_sqlite_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
