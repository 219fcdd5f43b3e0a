%% Terms into Python and back.  The image of a term is what comes back when Python
%% returns it unchanged.
-module(convert_SUITE).

-include_lib("common_test/include/ct.hrl").

-compile([export_all, nowarn_export_all]).

suite() ->
    [{timetrap, {seconds, 120}}].

all() ->
    [
        {group, properties},
        {group, to_python},
        {group, to_erlang},
        {group, depth},
        {group, handles},
        {group, atoms},
        six_calls
    ].

groups() ->
    [
        {properties, [], [
            every_term_has_its_image,
            every_integer_comes_back,
            every_float_comes_back,
            every_binary_comes_back,
            every_text_is_text,
            every_python_value_comes_back
        ]},
        {to_python, [], [
            scalars_to_python,
            atoms_to_python,
            binaries_to_python,
            tagged_binaries,
            containers_to_python,
            equal_and_unhashable_keys,
            terms_without_counterpart
        ]},
        {to_erlang, [], [
            scalars_to_erlang,
            nan_and_infinities,
            huge_integers,
            texts_to_erlang,
            containers_to_erlang,
            keys_that_become_one,
            byte_buffers_to_erlang,
            subclasses_to_erlang,
            objects_without_counterpart,
            large_dicts,
            numpy_arrays,
            index_of_an_object,
            index_that_raises,
            index_that_changes_its_container,
            operators_of_an_integer,
            conversion_inside_a_conversion
        ]},
        {depth, [], [
            depth_to_python,
            depth_to_erlang,
            recursive_containers,
            wide_terms
        ]},
        {handles, [], [
            pids_come_back,
            references_come_back,
            handles_are_opaque_and_equal,
            send_to_pids_and_names,
            remote_pids
        ]},
        {atoms, [], [
            data_makes_no_atom,
            atom_of_an_existing_name,
            atom_create
        ]}
    ].

init_per_suite(Config) ->
    ok = erlpy_ct:start(Config),
    Config.

end_per_suite(_Config) ->
    erlpy_ct:stop().

echo(Term) ->
    py:call(ct_terms, echo, [Term]).

%% ---- Properties -------------------------------------------------------------------------

every_term_has_its_image(_Config) ->
    check(term(), 1000, fun(Term) -> {Term, image(Term)} end,
          fun({Term, Image}) -> echo(Term) =:= answer(Image) end).

every_integer_comes_back(_Config) ->
    check(big_integer(), 500, fun(N) -> N end, fun(N) -> echo(N) =:= {ok, N} end).

every_float_comes_back(_Config) ->
    check(proper_types:float(), 500, fun(F) -> F end,
          fun(F) -> {ok, G} = echo(F), <<F/float>> =:= <<G/float>> end).

every_binary_comes_back(_Config) ->
    check(proper_types:binary(), 500, fun(B) -> B end,
          fun(B) -> echo(B) =:= {ok, B} andalso echo({bytes, B}) =:= {ok, B} end).

every_text_is_text(_Config) ->
    Text = proper_types:list(proper_types:oneof([
        proper_types:integer(0, 16#D7FF), proper_types:integer(16#E000, 16#10FFFF)
    ])),
    check(Text, 500, fun unicode:characters_to_binary/1,
          fun(B) ->
              {ok, [<<"str">>, _]} = py:call(ct_terms, describe, [B]),
              {ok, Points} = py:eval("[ord(c) for c in s]", #{s => B}),
              Points =:= unicode:characters_to_list(B) andalso echo(B) =:= {ok, B}
          end).

%% PROPERTY_TESTS=100 of each, where less than Tests.
check(Type, Most, Prepare, Holds) ->
    Tests = tests(Most),
    Property = proper:forall(Type, fun(Term) -> Holds(Prepare(Term)) end),
    case proper:quickcheck(Property, [{numtests, Tests}, {max_size, 30}, long_result, quiet]) of
        true -> ok;
        Counterexample -> ct:fail({counterexample, Counterexample})
    end.

tests(Most) ->
    min(Most, list_to_integer(os:getenv("PROPERTY_TESTS", "1000000"))).

term() ->
    proper_types:sized(fun term/1).

term(Size) when Size =< 1 ->
    leaf();
term(Size) ->
    Part = proper_types:lazy(fun() -> term(Size div 3) end),
    proper_types:frequency([
        {3, leaf()},
        {2, proper_types:list(Part)},
        {2, proper_types:loose_tuple(Part)},
        {2, proper_types:bind(proper_types:list({Part, Part}), fun maps:from_list/1, false)}
    ]).

leaf() ->
    proper_types:oneof([
        proper_types:integer(),
        big_integer(),
        proper_types:float(),
        proper_types:atom(),
        proper_types:oneof([true, false, none, nil, undefined, bytes, str, 'é', 'π', '']),
        proper_types:binary(),
        proper_types:oneof([<<"a">>, <<"π"/utf8>>, <<255>>, {bytes, <<"a">>}, {str, <<"a">>}, [], {}])
    ]).

big_integer() ->
    proper_types:bind(
        {proper_types:integer(0, 4200), proper_types:integer(-3, 3)},
        fun({Bits, Near}) ->
            proper_types:oneof([(1 bsl Bits) + Near, -(1 bsl Bits) + Near])
        end,
        false
    ).

answer({image, Image}) ->
    {ok, Image};
answer({refused, Text}) ->
    {error, {not_convertible, Text}}.

%% What must come back, or {refused, Text}.
image(Term) ->
    try
        {image, walk(Term)}
    catch
        throw:refused -> refusal(Term)
    end.

%% The texts of refused maps name a key: any will do.
refusal(Term) ->
    case echo(Term) of
        {error, {not_convertible, Text}} -> {refused, Text};
        Other -> error({not_refused, Term, Other})
    end.

walk(Atom) when Atom =:= true; Atom =:= false -> Atom;
walk(Atom) when Atom =:= none; Atom =:= nil; Atom =:= undefined -> none;
walk(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
walk({bytes, Binary}) when is_binary(Binary) -> Binary;
walk({str, Binary}) when is_binary(Binary) ->
    is_list(unicode:characters_to_list(Binary)) orelse throw(refused),
    Binary;
walk(Tuple) when is_tuple(Tuple) -> list_to_tuple(walk(tuple_to_list(Tuple)));
walk(List) when is_list(List) -> [walk(Item) || Item <- List];
walk(Map) when is_map(Map) ->
    Pairs = [{python_key(Key), walk(Key), walk(Value)} || {Key, Value} <- maps:to_list(Map)],
    Python = lists:usort([Key || {Key, _, _} <- Pairs]),
    Image = maps:from_list([{Key, Value} || {_, Key, Value} <- Pairs]),
    length(Python) =:= map_size(Map) orelse throw(refused),
    map_size(Image) =:= map_size(Map) orelse throw(refused),
    Image;
walk(Other) -> Other.

%% Equal exactly when Python holds the two keys equal.
python_key(Integer) when is_integer(Integer) -> {number, Integer};
python_key(Float) when is_float(Float), trunc(Float) == Float -> {number, trunc(Float)};
python_key(Float) when is_float(Float) -> {number, Float};
python_key(true) -> {number, 1};
python_key(false) -> {number, 0};
python_key(Atom) when Atom =:= none; Atom =:= nil; Atom =:= undefined -> none;
python_key(Atom) when is_atom(Atom) -> {text, atom_to_binary(Atom)};
python_key({bytes, Binary}) when is_binary(Binary) -> {bytes, Binary};
python_key({str, Binary}) when is_binary(Binary) -> {text, Binary};
python_key(Tuple) when is_tuple(Tuple) ->
    {tuple, [python_key(Item) || Item <- tuple_to_list(Tuple)]};
python_key(Binary) when is_binary(Binary) ->
    case unicode:characters_to_list(Binary) of
        Text when is_list(Text) -> {text, Binary};
        _ -> {bytes, Binary}
    end;
python_key(_ListOrMap) ->
    throw(refused).

%% ---- To Python -------------------------------------------------------------------------------

is_described(Term, Type, Repr) ->
    {Term, {ok, [Type, Repr]}} = {Term, py:call(ct_terms, describe, [Term])},
    ok.

scalars_to_python(_Config) ->
    [ok = is_described(N, <<"int">>, integer_to_binary(N))
     || N <- [0, -1, 1, 1 bsl 59, -(1 bsl 59), 1 bsl 63 - 1, 1 bsl 63, -(1 bsl 63),
              -(1 bsl 63) - 1, 1 bsl 64, 1 bsl 2000, -(1 bsl 2000)]],
    [ok = is_described(F, <<"float">>, Repr)
     || {F, Repr} <- [{0.0, <<"0.0">>}, {-1.5, <<"-1.5">>}, {1.0e300, <<"1e+300">>},
                      {5.0e-324, <<"5e-324">>}]],
    {ok, <<"-0.0">>} = py:eval("repr(x)", #{x => -0.0}),
    [ok = is_described(A, <<"bool">>, Repr) || {A, Repr} <- [{true, <<"True">>}, {false, <<"False">>}]],
    [ok = is_described(A, <<"NoneType">>, <<"None">>) || A <- [none, nil, undefined]].

atoms_to_python(_Config) ->
    [ok = is_described(A, <<"str">>, Repr)
     || {A, Repr} <- [{abc, <<"'abc'">>}, {'', <<"''">>}, {'with space', <<"'with space'">>},
                      {'é', <<"'é'"/utf8>>}, {'ÿ', <<"'ÿ'"/utf8>>}, {'π', <<"'π'"/utf8>>},
                      {'日本', <<"'日本'"/utf8>>}, {'True', <<"'True'">>}, {null, <<"'null'">>}]],
    Long = list_to_atom(lists:duplicate(255, $x)),
    Wide = list_to_atom(lists:duplicate(255, 16#1F600)),
    [{ok, 255} = py:call(builtins, len, [A]) || A <- [Long, Wide]],
    [{ok, B} = echo(A) || A <- [Long, Wide], B <- [atom_to_binary(A)]],
    ok.

binaries_to_python(_Config) ->
    [ok = is_described(B, <<"str">>, Repr)
     || {B, Repr} <- [{<<>>, <<"''">>}, {<<"abc">>, <<"'abc'">>}, {<<"ü"/utf8>>, <<"'ü'"/utf8>>},
                      {<<0>>, <<"'\\x00'">>}, {<<240, 159, 152, 128>>, <<"'😀'"/utf8>>}]],
    %% Not UTF-8: a lone byte, a surrogate, overlong forms, beyond U+10FFFF, cut short.
    Invalid = [<<255>>, <<128>>, <<16#ED, 16#A0, 16#80>>, <<16#C0, 16#80>>, <<16#E0, 16#80, 16#80>>,
               <<16#F4, 16#90, 0, 0>>, <<16#F8, 0>>, <<"a", 16#C3>>, <<"a", 16#E2, 16#82>>,
               <<16#F0, 16#9F, 16#98>>],
    [{B, {ok, [<<"bytes">>, _]}} = {B, py:call(ct_terms, describe, [B])} || B <- Invalid],
    [{ok, B} = echo(B) || B <- Invalid],
    %% The fault may sit anywhere in a long one.
    [{ok, [<<"bytes">>, _]} = py:call(ct_terms, describe, [long_invalid(At)])
     || At <- [0, 1, 7, 8, 31, 63, 99]],
    %% A part of another binary, also at an odd bit.
    <<_:3/bitstring, Odd:8/binary, _/bitstring>> = <<16#0C2C4C6C8CACCCEC0C:72>>,
    {ok, Odd} = echo(Odd),
    <<_, Part:3/binary, _/binary>> = <<"xabcx">>,
    {ok, <<"abc">>} = echo(Part).

long_invalid(At) ->
    Text = binary:copy(<<"a">>, 100),
    <<(binary:part(Text, 0, At))/binary, 255, (binary:part(Text, At, 99 - At))/binary>>.

tagged_binaries(_Config) ->
    ok = is_described({bytes, <<"abc">>}, <<"bytes">>, <<"b'abc'">>),
    ok = is_described({bytes, <<255>>}, <<"bytes">>, <<"b'\\xff'">>),
    ok = is_described({bytes, <<>>}, <<"bytes">>, <<"b''">>),
    ok = is_described({str, <<"abc">>}, <<"str">>, <<"'abc'">>),
    {error, {not_convertible, Text}} = echo({str, <<255>>}),
    true = string:find(Text, "UTF-8") =/= nomatch,
    %% Any other pair that begins so is a tuple.
    ok = is_described({bytes, 1}, <<"tuple">>, <<"('bytes', 1)">>),
    ok = is_described({str, abc}, <<"tuple">>, <<"('str', 'abc')">>),
    ok = is_described({bytes, <<"a">>, 1}, <<"tuple">>, <<"('bytes', 'a', 1)">>),
    %% As keys and deep inside.
    {ok, [<<"bytes">>, <<"str">>]} =
        py:call(ct_terms, key_types, [#{{bytes, <<"a">>} => 1, <<"a">> => 2}]),
    ok = is_described([{{bytes, <<"a">>}}], <<"list">>, <<"[(b'a',)]">>).

containers_to_python(_Config) ->
    ok = is_described([], <<"list">>, <<"[]">>),
    ok = is_described("ab", <<"list">>, <<"[97, 98]">>),
    ok = is_described([1, [2, [3]]], <<"list">>, <<"[1, [2, [3]]]">>),
    ok = is_described({}, <<"tuple">>, <<"()">>),
    ok = is_described({1, {2}}, <<"tuple">>, <<"(1, (2,))">>),
    ok = is_described(#{}, <<"dict">>, <<"{}">>),
    ok = is_described(#{a => #{<<"b">> => [none]}}, <<"dict">>, <<"{'a': {'b': [None]}}">>),
    %% Small maps are flat, large ones are trees.
    Large = maps:from_list([{N, {N}} || N <- lists:seq(1, 1000)]),
    {ok, Large} = echo(Large),
    ok = is_described(#{{1, 2} => 3}, <<"dict">>, <<"{(1, 2): 3}">>).

equal_and_unhashable_keys(_Config) ->
    Equal = [
        #{1 => a, 1.0 => b}, #{1 => a, true => b}, #{0 => a, false => b}, #{1.0 => a, true => b},
        #{a => 1, <<"a">> => 2}, #{none => 1, nil => 2}, #{undefined => 1, none => 2},
        #{{1} => a, {1.0} => b}, #{{bytes, <<"a">>} => 1, {bytes, <<"a">>, x} => 2, a => 1, {str, <<"a">>} => 2},
        #{(1 bsl 60) => a, float(1 bsl 60) => b}
    ],
    [{Map, true} = {Map, refuses(Map, "equal")} || Map <- Equal],
    %% Keys that only look alike are different.
    {ok, #{1 := _, <<"1">> := _}} = echo(#{1 => a, <<"1">> => b}),
    Unhashable = [#{[] => 1}, #{[1] => 1}, #{#{} => 1}, #{{1, []} => 1}, #{{#{}} => 1}],
    [{Map, true} = {Map, refuses(Map, "hash")} || Map <- Unhashable],
    ok.

refuses(Term, Word) ->
    {error, {not_convertible, Text}} = echo(Term),
    string:find(Text, Word) =/= nomatch.

terms_without_counterpart(_Config) ->
    {ok, Socket} = gen_tcp:listen(0, []),
    Port = hd(erlang:ports()),
    Cases = [
        {fun() -> ok end, "fun"}, {fun lists:map/2, "fun"}, {Port, "port"},
        {[1 | 2], "improper"}, {[1, 2 | <<>>], "improper"}, {[[a | b]], "improper"},
        {<<1:1>>, "bitstring"}, {<<255, 3:7>>, "bitstring"}, {{bytes, <<1:1>>}, "bitstring"}
    ],
    [{Term, true} = {Term, refuses(Shape, Word)}
     || {Term, Word} <- Cases, Shape <- [Term, [1, Term], {1, Term}, #{a => Term}]],
    [{Term, true} = {Term, refuses(#{Term => 1}, Word)}
     || {Term, Word} <- Cases, not is_list(Term)],
    ok = gen_tcp:close(Socket).

%% ---- To Erlang ---------------------------------------------------------------------------------

is_value(Code, Term) ->
    {Code, {ok, Term}} = {Code, py:eval(Code)},
    ok.

scalars_to_erlang(_Config) ->
    [ok = is_value(Code, Term) || {Code, Term} <- [
        {"None", none}, {"True", true}, {"False", false}, {"0", 0}, {"-1", -1},
        {"2**59", 1 bsl 59}, {"2**63 - 1", 1 bsl 63 - 1}, {"2**63", 1 bsl 63},
        {"-2**63", -(1 bsl 63)}, {"-2**63 - 1", -(1 bsl 63) - 1}, {"2**64", 1 bsl 64},
        {"1.5", 1.5}, {"0.0", 0.0}, {"5e-324", 5.0e-324}, {"-1.7976931348623157e308", -1.7976931348623157e308}
    ]],
    {ok, Zero} = py:eval("-0.0"),
    <<1:1, 0:63>> = <<Zero/float>>.

nan_and_infinities(_Config) ->
    [{Code, true} = {Code, result_refuses(Code, Word)} || {Code, Word} <- [
        {"float('nan')", "nan"}, {"float('inf')", "infinite"}, {"-float('inf')", "infinite"},
        {"[1, (2, float('nan'))]", "nan"}, {"{1: float('inf')}", "infinite"}
    ]],
    ok.

result_refuses(Code, Word) ->
    {error, {not_convertible, Text}} = py:eval(Code),
    string:find(Text, Word) =/= nomatch.

huge_integers(_Config) ->
    [begin
         {ok, Value} = py:eval("sign * 2**bits + more", #{sign => Sign, bits => Bits, more => More}),
         Value = Sign * (1 bsl Bits) + More,
         {ok, Value} = echo(Value)
     end || Sign <- [1, -1], Bits <- [64, 2032, 2040, 2048, 100000], More <- [-1, 0, 1]],
    %% Larger than the largest of Erlang's (about 2^(64 * 2^16 * 8)): an error, no crash.
    {error, {not_convertible, Text}} = py:eval("1 << (1 << 27)"),
    true = string:find(Text, "larger") =/= nomatch.

texts_to_erlang(_Config) ->
    [ok = is_value(Code, Term) || {Code, Term} <- [
        {"''", <<>>}, {"'abc'", <<"abc">>}, {"'é'", <<"é"/utf8>>}, {"'日本'", <<"日本"/utf8>>},
        {"'😀'", <<"😀"/utf8>>}, {"b''", <<>>}, {"b'\\xff\\x00'", <<255, 0>>}, {"'\\x00'", <<0>>}
    ]],
    true = result_refuses("'\\ud800'", "surrogate"),
    true = result_refuses("{'a\\udfff': 1}", "surrogate").

containers_to_erlang(_Config) ->
    [ok = is_value(Code, Term) || {Code, Term} <- [
        {"[]", []}, {"[1, [2]]", [1, [2]]}, {"()", {}}, {"(1, (2,))", {1, {2}}},
        {"(True, 'x')", {true, <<"x">>}}, {"{}", #{}}, {"{'a': [1]}", #{<<"a">> => [1]}},
        {"{(1, 2): {3: 4}}", #{{1, 2} => #{3 => 4}}}, {"set()", []}, {"{1}", [1]},
        {"frozenset([2])", [2]}, {"{1: 'a', 2.5: 'b'}", #{1 => <<"a">>, 2.5 => <<"b">>}}
    ]],
    {ok, Set} = py:eval("{1, 2, 3, 'x'}"),
    [1, 2, 3, <<"x">>] = lists:sort(Set).

keys_that_become_one(_Config) ->
    [{Code, true} = {Code, result_refuses(Code, "same term")} || Code <- [
        "{'a': 1, b'a': 2}", "{'': 1, b'': 2}", "{None: 1, __import__('erlang').Atom('none'): 2}",
        "{(b'x',): 1, ('x',): 2}", "{True: 1, __import__('erlang').Atom('true'): 2}"
    ]],
    %% Erlang tells apart what Python holds equal; the dict has one of them.
    ok = is_value("{1: 'a', 1.0: 'b'}", #{1 => <<"b">>}).

%% From 33 pairs on a map is a tree.
large_dicts(_Config) ->
    [begin
         {ok, Map} = py:eval("{k: v for k, v in zip(range(n), range(n, 2 * n))}", #{n => N}),
         Map = maps:from_list(lists:zip(lists:seq(0, N - 1), lists:seq(N, 2 * N - 1))),
         true = result_refuses(
             io_lib:format("{**{i: i for i in range(~b)}, 'a': 1, b'a': 2}", [N]), "same term")
     end || N <- [31, 32, 33, 34, 100, 1000, 100_000]],
    {ok, Context} = py_context:new(),
    {ok, Nested} = py:eval(Context, "{i: {j: 'x' for j in range(500)} for i in range(500)}"),
    [500] = lists:usort([map_size(Inner) || Inner <- maps:values(Nested)]),
    ok = py_context:destroy(Context).

byte_buffers_to_erlang(_Config) ->
    {ok, [_ | _] = Binaries} = py:call(ct_terms, others, []),
    [<<0, 1, 254, 255>> = Binary || Binary <- Binaries],
    ok = is_value("bytearray()", <<>>),
    {ok, Large} = py:eval("bytearray(b'ab' * 5_000_000)"),
    10_000_000 = byte_size(Large).

subclasses_to_erlang(_Config) ->
    {ok, [2, 2.5, <<"s">>, <<255>>, [1], {1}, #{1 := 2}, 3]} = py:call(ct_terms, subclasses, []),
    {ok, {1, 2}} = py:call(ct_terms, 'Point', [1, 2]),
    {ok, #{<<"b">> := 1}} = py:eval("__import__('collections').OrderedDict(b=1)"),
    {ok, #{97 := 1}} = py:eval("__import__('collections').Counter(b'a')").

objects_without_counterpart(_Config) ->
    {ok, Count} = py:call(ct_terms, refused_count, []),
    lists:foreach(
        fun(I) ->
            {I, {error, {not_convertible, Text}}} = {I, py:call(ct_terms, refused_one, [I])},
            {ok, Name} = type_of_refused(I),
            {I, Name, true} = {I, Name, string:find(Text, Name) =/= nomatch}
        end,
        lists:seq(0, Count - 1)
    ).

type_of_refused(I) ->
    py:eval("type(__import__('ct_terms').refused_one(i)).__name__", #{i => I}).

numpy_arrays(_Config) ->
    case erlpy_ct:skip_without(numpy) of
        ok ->
            ok = py:exec("import numpy"),
            ok = is_value("numpy.array([1, 255], 'uint8')", <<1, 255>>),
            ok = is_value("numpy.array([1, -1], 'int8')", <<1, 255>>),
            ok = is_value("numpy.int64(-5)", -5),
            ok = is_value("numpy.float64(2.5)", 2.5),
            {error, {not_convertible, _}} = py:eval("numpy.array([1, 2])"),
            {error, {not_convertible, _}} = py:eval("numpy.zeros((2, 2), 'uint8')"),
            {error, {not_convertible, _}} = py:eval("numpy.zeros(8, 'uint8')[::2]");
        Skip ->
            Skip
    end.

index_of_an_object(_Config) ->
    [{ok, N} = py:call(ct_terms, 'Index', [N]) || N <- [0, -1, 1 bsl 62, 1 bsl 64, -(1 bsl 4000)]],
    {ok, 1} = py:call(ct_terms, 'Index', [true]).

index_that_raises(_Config) ->
    {error, {<<"ZeroDivisionError">>, <<"mine">>, Traceback}} =
        py:call(ct_terms, index_raises, [zero]),
    true = string:find(Traceback, "__index__") =/= nomatch,
    {error, {<<"TypeError">>, <<"mine">>, _}} = py:call(ct_terms, index_raises, [type]),
    {error, {<<"SystemExit">>, _, _}} = py:call(ct_terms, index_raises, [exit]),
    {error, {<<"TypeError">>, _, _}} = py:call(ct_terms, 'NotAnIndex', []).

index_that_changes_its_container(_Config) ->
    {ok, [7]} = py:call(ct_terms, clears_its_list, []),
    {ok, Shrunk} = py:call(ct_terms, shrinks_its_list, []),
    Shrunk = lists:duplicate(500, 0) ++ [7],
    {error, {not_convertible, Text}} = py:call(ct_terms, clears_its_dict, []),
    true = string:find(Text, "changed") =/= nomatch,
    {error, {not_convertible, _}} = py:call(ct_terms, grows_its_dict, []).

%% ---- Depth ---------------------------------------------------------------------------------------

nest(Kind, Depth) ->
    lists:foldl(
        fun(_, Inner) ->
            case Kind of
                list -> [Inner];
                tuple -> {Inner};
                dict -> #{1 => Inner}
            end
        end,
        none, lists:seq(1, Depth)
    ).

%% The list of arguments is one of the levels.
depth_to_python(_Config) ->
    {ok, Context} = py_context:new(),
    [begin
         {ok, 990} = py:call(ct_terms, depth_of, [nest(Kind, 990)]),
         {ok, 990} = py:call(Context, ct_terms, depth_of, [nest(Kind, 990)]),
         [begin
              {error, {not_convertible, Text}} = py:call(Target, ct_terms, depth_of, [Deep]),
              true = string:find(Text, "deeper than 1000") =/= nomatch
          end || Deep <- [nest(Kind, 1001), nest(Kind, 200_000)], Target <- [Context]],
         {error, {not_convertible, _}} = py:call(ct_terms, depth_of, [nest(Kind, 200_000)])
     end || Kind <- [list, tuple, dict]],
    ok = py_context:destroy(Context).

depth_to_erlang(_Config) ->
    [begin
         {ok, Deep} = py:call(ct_terms, nested, [Kind, 990]),
         true = Deep =:= nest(Kind, 990),
         [{error, {not_convertible, _}} = py:call(ct_terms, nested, [Kind, Depth])
          || Depth <- [1001, 50_000]]
     end || Kind <- [list, tuple, dict]],
    ok.

recursive_containers(_Config) ->
    {ok, Context} = py_context:new(),
    [begin
         {error, {not_convertible, Text}} = py:call(ct_terms, Function, []),
         true = string:find(Text, "deeper than 1000") =/= nomatch,
         {error, {not_convertible, _}} = py:call(Context, ct_terms, Function, [])
     end || Function <- [recursive_list, recursive_dict]],
    ok = py_context:destroy(Context).

wide_terms(_Config) ->
    Wide = lists:seq(1, 300_000),
    {ok, Wide} = echo(Wide),
    Tuple = list_to_tuple(Wide),
    {ok, Tuple} = echo(Tuple),
    Map = maps:from_list([{N, N} || N <- lists:seq(1, 50_000)]),
    {ok, Map} = echo(Map),
    {ok, [Map, Map]} = echo([Map, Map]),
    ok.

%% ---- Pids and references -----------------------------------------------------------------------------

pids_come_back(_Config) ->
    Pids = [self(), spawn(fun() -> ok end) | processes()],
    {ok, Pids} = echo(Pids),
    ok = is_type(self(), <<"Pid">>),
    {ok, Map} = echo(#{self() => 1}),
    Map = #{self() => 1}.

is_type(Term, Type) ->
    {ok, [Type, _]} = py:call(ct_terms, describe, [Term]),
    ok.

references_come_back(_Config) ->
    Monitor = monitor(process, self()),
    Alias = alias(),
    {ok, Context} = py_context:new(),
    Refs = [make_ref(), Monitor, Alias, Context],
    {ok, Refs} = echo(Refs),
    ok = is_type(make_ref(), <<"Ref">>),
    %% It is the very context.
    {ok, Same} = echo(Context),
    {ok, 1} = py:eval(Same, "1"),
    Alias ! reached,
    receive reached -> ok end,
    ok = py_context:destroy(Context).

handles_are_opaque_and_equal(_Config) ->
    {Self, Ref, Other} = {self(), make_ref(), make_ref()},
    {ok, [true, true, 1, false, _]} = py:call(ct_terms, compare_handles, [Self, Self]),
    {ok, [true, true, 1, false, _]} = py:call(ct_terms, compare_handles, [Ref, Ref]),
    {ok, [false, _, 2, true, false]} = py:call(ct_terms, compare_handles, [Ref, Other]),
    {ok, [false, _, 2, true, false]} = py:call(ct_terms, compare_handles, [Self, Ref]),
    Text = list_to_binary(pid_to_list(Self)),
    {ok, [_, Shown]} = py:call(ct_terms, describe, [Self]),
    true = string:find(Shown, Text) =/= nomatch,
    {error, {<<"TypeError">>, _, _}} = py:eval("__import__('erlang').Pid()"),
    {error, {<<"TypeError">>, _, _}} = py:eval("__import__('erlang').Ref()").

send_to_pids_and_names(_Config) ->
    true = register(?FUNCTION_NAME, self()),
    Name = atom_to_binary(?FUNCTION_NAME),
    {ok, none} = py:call(ct_terms, send, [self(), [1, {<<"two">>}]]),
    {ok, none} = py:call(ct_terms, send_named, [Name, 3]),
    {ok, none} = py:call(ct_terms, send_atom, [Name, #{4 => 5}]),
    [receive Message -> ok end || Message <- [[1, {<<"two">>}], 3, #{4 => 5}]],
    true = unregister(?FUNCTION_NAME),
    {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, send_named, [Name, 3]),
    {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, send_named, [<<"a name of nobody">>, 3]),
    {error, {<<"TypeError">>, _, _}} = py:call(ct_terms, send, [5, 3]),
    {error, {<<"NotConvertibleError">>, _, _}} =
        py:eval("__import__('erlang').send(pid, len)", #{pid => self()}),
    %% Nobody there any more: nothing happens, as in Erlang.
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    {ok, none} = py:call(ct_terms, send, [Dead, 1]).

%% From Python in one node to a process of another.
remote_pids(Config) ->
    {Here, _} = erlpy_ct:peer(here, #{}),
    {There, Node} = erlpy_ct:peer(there, #{}),
    ok = peer:call(Here, application, load, [erlpy]),
    ok = peer:call(Here, application, set_env, [erlpy, python_path, [erlpy_ct:python_dir(Config)]]),
    {ok, _} = peer:call(Here, application, ensure_all_started, [erlpy]),
    pong = peer:call(Here, net_adm, ping, [Node]),
    ok = peer:call(Here, ?MODULE, send_far_away, [Node]),
    ok = peer:stop(Here),
    ok = peer:stop(There).

send_far_away(Node) ->
    Pid = erpc:call(Node, erlang, whereis, [kernel_sup]),
    Ref = erpc:call(Node, erlang, make_ref, []),
    {ok, [Pid, Ref]} = py:call(ct_terms, echo, [[Pid, Ref]]),
    {ok, [true, true, 1, false, false]} = py:call(ct_terms, compare_handles, [Pid, Pid]),
    Self = self(),
    Echo = erlang:spawn(Node, fun() -> receive {To, Term} -> To ! {echo, Term} end end),
    {ok, none} = py:call(ct_terms, send, [Echo, {Self, [1, <<"two">>]}]),
    receive {echo, [1, <<"two">>]} -> ok end,
    %% Many, in order.
    Numbers = lists:seq(1, 200),
    Count = erlang:spawn(Node, fun() -> Self ! {all, [receive Any -> Any end || _ <- Numbers]} end),
    [{ok, none} = py:call(ct_terms, send, [Count, N]) || N <- Numbers],
    receive {all, Numbers} -> ok end.

%% ---- Atoms -------------------------------------------------------------------------------------------

new_name() ->
    iolist_to_binary(["never_an_atom_", integer_to_binary(erlang:unique_integer([positive]))]).

exists(Name) ->
    try binary_to_existing_atom(Name) of
        _ -> true
    catch
        error:badarg -> false
    end.

data_makes_no_atom(_Config) ->
    Run = fun() ->
        [begin
             Name = new_name(),
             {ok, _} = echo([Name, {str, Name}, #{Name => Name}]),
             {ok, _} = py:call(ct_calls, arguments, [], #{Name => 1}),
             {ok, _} = py:eval("v + v", #{v => Name}),
             {error, _} = py:call(Name, Name, []),
             {error, _} = py:call(math, Name, []),
             {error, _} = py:eval(Name),
             {error, _} = py:exec(["raise type('", Name, "', (Exception,), {})"]),
             {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, atom, [Name]),
             {error, _} = py:call(ct_terms, send_named, [Name, 1]),
             false = exists(Name)
         end || _ <- lists:seq(1, 50)]
    end,
    Run(),
    Before = erlang:system_info(atom_count),
    Run(),
    Before = erlang:system_info(atom_count).

atom_of_an_existing_name(_Config) ->
    [{ok, Atom} = py:call(ct_terms, atom, [atom_to_binary(Atom)])
     || Atom <- [ok, error, true, false, none, undefined, '', 'é', 'π', 'with space']],
    {ok, #{ok := [{error, ok}]}} =
        py:eval("(lambda A: {A('ok'): [(A('error'), A('ok'))]})(__import__('erlang').Atom)"),
    {ok, [true, true, <<"ok">>]} =
        py:eval("(lambda A: [A('ok') == A('ok'), hash(A('ok')) == hash(A('ok')), A('ok').name])"
                "(__import__('erlang').Atom)"),
    {error, {<<"TypeError">>, _, _}} = py:call(ct_terms, atom, [5]),
    {error, {<<"TypeError">>, _, _}} = py:eval("__import__('erlang').Atom()").

atom_create(_Config) ->
    Name = new_name(),
    {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, atom, [Name, false]),
    false = exists(Name),
    {ok, Made} = py:call(ct_terms, atom, [Name, true]),
    Name = atom_to_binary(Made),
    {ok, Made} = py:call(ct_terms, atom, [Name]),
    %% At most 255 characters.
    Long = binary:copy(<<"π"/utf8>>, 255),
    {ok, Atom} = py:call(ct_terms, atom, [Long, true]),
    Long = atom_to_binary(Atom),
    {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, atom, [<<Long/binary, "x">>, true]),
    {error, {<<"ValueError">>, _, _}} = py:call(ct_terms, atom, [binary:copy(<<"x">>, 5000), true]).

six_calls(_Config) ->
    erlpy_ct:still_works().

%% ---- Hypothesis, and objects that resist -----------------------------------------------

every_python_value_comes_back(_Config) ->
    Echo = spawn_link(fun echo/0),
    Tests = tests(500),
    {ok, Count} = py:call(ct_property, check, [Echo, Tests]),
    true = Count > Tests div 5,
    unlink(Echo),
    exit(Echo, kill).

echo() ->
    receive
        Term ->
            {ok, none} = py:call(ct_property, deliver, [Term]),
            echo()
    end.

%% The value counts, not what a subclass makes of it.
operators_of_an_integer(_Config) ->
    Big = 1 bsl 70,
    {ok, [Big, Negative, 3]} = py:call(ct_terms, contrary, []),
    Negative = -Big.

conversion_inside_a_conversion(_Config) ->
    {error, {not_convertible, Text}} = py:call(ct_terms, reentrant, [self()]),
    {_, _} = binary:match(Text, <<"nested">>),
    receive
        Unexpected -> error(Unexpected)
    after 0 -> ok
    end.
