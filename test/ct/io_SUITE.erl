%% The standard library reads a buffer as a file: while another process writes it in
%% pieces of 100 bytes, and when everything is there.
-module(io_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 15}}].

all() ->
    [{group, trickling}, {group, byte_by_byte}, {group, there}, six_calls].

groups() ->
    Cases = [Case || {Case, _} <- readers()],
    [
        {trickling, [], Cases},
        %% GzipFile takes a read(2) that answers one byte for a file that is none of its.
        {byte_by_byte, [], Cases -- [gzip_lines]},
        {there, [], Cases}
    ].

%% A function of ct_io, and the kind of data that it reads.
readers() ->
    [
        {buffered_reader, lines},
        {buffered_small, lines},
        {buffered_lines, lines},
        {text_wrapper, lines},
        {text_wrapper_read, lines},
        {csv_rows, csv},
        {json_load, json},
        {json_load_text, json},
        {pickle_load, pickle},
        {gzip_read, gzip},
        {gzip_lines, gzip},
        {tar_stream, tar},
        {tar_gz_stream, 'tar.gz'},
        {zip_members, zip},
        {copy_file, lines},
        {copy_file_small, lines},
        {file_digest, lines},
        {with_block, lines},
        {weak_reference, lines},
        {iteration, lines},
        {all_readlines, lines},
        {interleaved, lines},
        {all_views, lines},
        {is_raw_stream, lines}
    ].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

init_per_group(Group, Config) ->
    [{arrival, Group} | Config].

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    ok = erlpy_ct:start(Config),
    Config.

read(Function, Config) ->
    {Function, Kind} = lists:keyfind(Function, 1, readers()),
    {ok, Data} = py:call(ct_io, make, [Kind]),
    true = is_binary(Data) andalso byte_size(Data) > 100,
    Buf = buffer(?config(arrival, Config), Data),
    {ok, true} = call_reader(Function, Buf),
    ok.

buffer(there, Data) -> erlpy_ct:reader(Data);
buffer(trickling, Data) -> erlpy_ct:trickle_until_closed(Data, 100, 1);
buffer(byte_by_byte, Data) -> erlpy_ct:trickle_until_closed(Data, 1, 0).

call_reader(tar_gz_stream, Buf) -> py:call(ct_io, tar_stream, [Buf, <<"r|gz">>]);
call_reader(Function, Buf) -> py:call(ct_io, Function, [Buf]).

buffered_reader(Config) -> read(?FUNCTION_NAME, Config).
buffered_small(Config) -> read(?FUNCTION_NAME, Config).
buffered_lines(Config) -> read(?FUNCTION_NAME, Config).
text_wrapper(Config) -> read(?FUNCTION_NAME, Config).
text_wrapper_read(Config) -> read(?FUNCTION_NAME, Config).
csv_rows(Config) -> read(?FUNCTION_NAME, Config).
json_load(Config) -> read(?FUNCTION_NAME, Config).
json_load_text(Config) -> read(?FUNCTION_NAME, Config).
pickle_load(Config) -> read(?FUNCTION_NAME, Config).
gzip_read(Config) -> read(?FUNCTION_NAME, Config).
gzip_lines(Config) -> read(?FUNCTION_NAME, Config).
tar_stream(Config) -> read(?FUNCTION_NAME, Config).
tar_gz_stream(Config) -> read(?FUNCTION_NAME, Config).
zip_members(Config) -> read(?FUNCTION_NAME, Config).
copy_file(Config) -> read(?FUNCTION_NAME, Config).
copy_file_small(Config) -> read(?FUNCTION_NAME, Config).
file_digest(Config) -> read(?FUNCTION_NAME, Config).
with_block(Config) -> read(?FUNCTION_NAME, Config).
weak_reference(Config) -> read(?FUNCTION_NAME, Config).
iteration(Config) -> read(?FUNCTION_NAME, Config).
all_readlines(Config) -> read(?FUNCTION_NAME, Config).
interleaved(Config) -> read(?FUNCTION_NAME, Config).
all_views(Config) -> read(?FUNCTION_NAME, Config).
is_raw_stream(Config) -> read(?FUNCTION_NAME, Config).

six_calls(_Config) ->
    erlpy_ct:still_works().
